import CAgentShims
import Glibc

/// The environment that the agent was started with, as it came: values may be any bytes.
public struct ProcessEnvironment: Sendable, CustomStringConvertible, CustomReflectable {
    /// `KEY=VALUE` entries.
    public let entries: [[UInt8]]
    private let values: [String: String]

    public init(entries: [[UInt8]]) {
        self.entries = entries
        var values: [String: String] = [:]
        for entry in entries {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else { continue }
            values[String(decoding: entry[..<equals], as: UTF8.self)] = String(
                decoding: entry[(equals + 1)...], as: UTF8.self)
        }
        self.values = values
    }

    /// Whoever prints a value that holds this one prints none of it: it has secrets.
    public var description: String { "\(entries.count) variables" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// The environment of this process.
    public static var current: ProcessEnvironment {
        var entries: [[UInt8]] = []
        var next = agent_environment()
        while let entry = next?.pointee {
            entries.append(Array(UnsafeRawBufferPointer(start: entry, count: strlen(entry))))
            next = next?.advanced(by: 1)
        }
        return ProcessEnvironment(entries: entries)
    }

    public init(_ values: [String: String]) {
        self.init(entries: values.map { Array("\($0.key)=\($0.value)".utf8) })
    }

    /// A variable's value; nil when it is not set or empty.
    public subscript(_ name: String) -> String? {
        guard let value = values[name], !value.isEmpty else { return nil }
        return value
    }

    public var names: some Collection<String> { values.keys }
}

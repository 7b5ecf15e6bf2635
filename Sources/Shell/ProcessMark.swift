import Glibc

/// Names a run's processes for good, also for an agent that starts after a crash of the one that spawned them.
///
/// Text form, one `key=value` a line: `marker`, then, once known, `pid`, `start`, `boot`, `namespace`.
public struct ProcessMark: Sendable, Equatable {
    /// Value of `Command.markerVariable` in the environment of every process of the run.
    public var marker: String
    /// The command's own process, which leads its session; nil before it is spawned.
    public var pid: Int32?
    /// Its start time in clock ticks since boot.
    public var startTime: UInt64
    /// The boot that the times count from.
    public var boot: String
    /// The process id namespace in which the id means anything.
    public var namespace: String

    public init(marker: String, pid: Int32? = nil) {
        self.marker = marker
        self.pid = pid
        startTime = pid.flatMap(ProcessTable.entry)?.startTime ?? 0
        boot = Self.currentBoot
        namespace = Self.currentNamespace
    }

    /// Reads the text form; nil when it is not one.
    public init?(text: String) {
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard let marker = values["marker"], !marker.isEmpty else { return nil }
        self.marker = String(marker)
        pid = values["pid"].flatMap { Int32($0) }
        startTime = values["start"].flatMap { UInt64($0) } ?? 0
        boot = String(values["boot"] ?? "")
        namespace = String(values["namespace"] ?? "")
    }

    public var text: String {
        var lines = ["marker=\(marker)", "boot=\(boot)", "namespace=\(namespace)"]
        if let pid { lines += ["pid=\(pid)", "start=\(startTime)"] }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Whether process ids of the mark mean the same processes now.
    var isOfThisBoot: Bool { boot == Self.currentBoot && namespace == Self.currentNamespace }

    private static let currentBoot = String(
        decoding: (ProcessTable.contents("/proc/sys/kernel/random/boot_id", limit: 256) ?? []).filter { $0 != 10 },
        as: UTF8.self)

    private static let currentNamespace: String = {
        var buffer = [CChar](repeating: 0, count: 256)
        let count = readlink("/proc/self/ns/pid", &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()
}

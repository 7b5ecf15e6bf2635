import Foundation
import Glibc

/// What `/proc` says of the processes on this machine (proc(5)).
enum Processes {
    struct Entry: Sendable {
        var pid: Int32
        var parent: Int32
        var session: Int32
        var state: Character
    }

    static func all() -> [Entry] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }.compactMap(
            entry)
    }

    static func entry(_ pid: Int32) -> Entry? {
        guard let text = contents("/proc/\(pid)/stat"), let close = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 3, let state = fields[0].first, let parent = Int32(fields[1]),
            let session = Int32(fields[3])
        else { return nil }
        return Entry(pid: pid, parent: parent, session: session, state: state)
    }

    static func isAlive(_ pid: Int32) -> Bool {
        entry(pid).map { $0.state != "Z" && $0.state != "X" } ?? false
    }

    /// Living processes whose environment or command line holds the text.
    static func carrying(_ text: String) -> [Int32] {
        let needle = Data(text.utf8)
        return all().filter { $0.state != "Z" && $0.state != "X" && $0.pid != getpid() }.map(\.pid).filter { pid in
            bytes("/proc/\(pid)/environ").range(of: needle) != nil
                || bytes("/proc/\(pid)/cmdline").range(of: needle) != nil
        }
    }

    static func commandLine(_ pid: Int32) -> String {
        String(decoding: bytes("/proc/\(pid)/cmdline").map { $0 == 0 ? 32 : $0 }, as: UTF8.self)
    }

    static func environment(_ pid: Int32) -> [String] {
        bytes("/proc/\(pid)/environ").split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    static func openDescriptors(_ pid: Int32) -> Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []).count
    }

    static func threads(_ pid: Int32) -> Int {
        status(pid, "Threads") ?? 0
    }

    /// How often each of its threads was given a core.
    static func switches(_ pid: Int32) -> [String: Int] {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        return Dictionary(
            uniqueKeysWithValues: tasks.map { ($0, status(pid, "voluntary_ctxt_switches", thread: $0) ?? 0) })
    }

    /// Children that have ended and were not reaped.
    static func zombies(of pid: Int32) -> Int {
        all().filter { $0.parent == pid && $0.state == "Z" }.count
    }

    /// The most memory that it ever had at once, in KiB; nil when it is gone.
    static func peakMemory(_ pid: Int32) -> Int? { status(pid, "VmHWM") }

    private static func status(_ pid: Int32, _ field: String, thread: String? = nil) -> Int? {
        let folder = thread.map { "/proc/\(pid)/task/\($0)" } ?? "/proc/\(pid)"
        guard let text = contents(folder + "/status") else { return nil }
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(field + ":") }) else { return nil }
        return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    }

    private static func contents(_ path: String) -> String? {
        let data = bytes(path)
        return data.isEmpty ? nil : String(decoding: data, as: UTF8.self)
    }

    /// Read in one go: files of /proc have no size.
    private static func bytes(_ path: String) -> Data {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return Data() }
        defer { close(descriptor) }
        var data = Data()
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while case let count = read(descriptor, &chunk, chunk.count), count > 0 {
            data.append(contentsOf: chunk[..<count])
        }
        return data
    }
}

import Glibc

/// One process as `/proc/PID/stat` shows it (proc(5)).
struct ProcessEntry: Sendable {
    var pid: Int32
    var parent: Int32
    var session: Int32
    /// `R`, `S`, `Z`…
    var state: UInt8
    /// Clock ticks between boot and its start; with the id it names one process for good.
    var startTime: UInt64

    /// Whether it has ended and only waits to be reaped.
    var isZombie: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }
}

/// Reads `/proc`.
enum ProcessTable {
    /// All processes at this moment; those that end meanwhile are left out.
    static func all() -> [ProcessEntry] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var entries: [ProcessEntry] = []
        while let item = readdir(folder) {
            let name = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let pid = Int32(name), let entry = entry(pid) { entries.append(entry) }
        }
        return entries
    }

    /// One process, nil when there is none with that id.
    static func entry(_ pid: Int32) -> ProcessEntry? {
        guard let text = contents("/proc/\(pid)/stat", limit: 4096) else { return nil }
        // The name in parentheses may itself hold spaces and parentheses: the fields begin after the last one.
        guard let close = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[(close + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, let state = fields[0].first, let parent = number(fields[1]),
            let session = number(fields[3]), let start = number(fields[19])
        else { return nil }
        return ProcessEntry(
            pid: pid, parent: Int32(truncatingIfNeeded: parent), session: Int32(truncatingIfNeeded: session),
            state: state, startTime: UInt64(max(0, start)))
    }

    /// The value of a variable in the environment that the process was started with; nil when it has none or its
    /// environment may not be read.
    static func variable(_ name: String, of pid: Int32) -> [UInt8]? {
        guard let environment = contents("/proc/\(pid)/environ", limit: 4 * 1024 * 1024) else { return nil }
        let prefix = Array("\(name)=".utf8)
        for entry in environment.split(separator: 0) where entry.starts(with: prefix) {
            return Array(entry.dropFirst(prefix.count))
        }
        return nil
    }

    /// Whether a process runs the same program as this one: so does a child between fork and exec.
    static func runsOurProgram(_ pid: Int32) -> Bool {
        let own = program("self")
        return own != nil && program("\(pid)") == own
    }

    /// Whether a process has a handler for a signal.
    static func catches(_ signal: Int32, _ pid: Int32) -> Bool {
        let lines = (contents("/proc/\(pid)/status", limit: 16384) ?? []).split(separator: 10)
        let prefix = Array("SigCgt:\t".utf8)
        guard let line = lines.first(where: { $0.starts(with: prefix) }),
            let mask = UInt64(String(decoding: line.dropFirst(prefix.count), as: UTF8.self), radix: 16)
        else { return false }
        return mask >> UInt64(signal - 1) & 1 == 1
    }

    /// Whether a process's standard input is a pipe.
    static func readsFromPipe(_ pid: Int32) -> Bool {
        link("/proc/\(pid)/fd/0")?.starts(with: Array("pipe:".utf8CString.dropLast())) ?? false
    }

    private static func program(_ pid: String) -> [CChar]? { link("/proc/\(pid)/exe") }

    private static func link(_ path: String) -> [CChar]? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int? {
        Int(String(decoding: bytes, as: UTF8.self))
    }

    static func contents(_ path: String, limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count < limit {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? bytes : nil }
            bytes.append(contentsOf: chunk[..<count])
        }
        return bytes
    }
}

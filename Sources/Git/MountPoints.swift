import Glibc

/// What is mounted below a folder, as this process sees it (proc_pid_mountinfo(5)).
enum MountPoints {
    /// Paths relative to the folder; empty where nothing is mounted, or the system does not say.
    static func below(_ folder: String) -> [FileName] {
        guard let resolved = realpath(folder, nil) else { return [] }
        defer { free(resolved) }
        let root = String(cString: resolved)
        let prefix = Array((root == "/" ? root : root + "/").utf8)
        return read().split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
            guard fields.count > 4 else { return nil }
            let path = unescaped(fields[4])
            return path.starts(with: prefix) && path.count > prefix.count ? FileName(path.dropFirst(prefix.count)) : nil
        }
    }

    /// The kernel gives a part at a time.
    private static func read() -> [UInt8] {
        let file = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var (bytes, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 16 * 1024))
        while true {
            let count = Glibc.read(file, &chunk, chunk.count)
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
        }
    }

    /// Space, tab, line end and backslash stand as `\040`.
    private static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
                result.append(digits.reduce(0) { $0 &* 8 &+ ($1 - 48) })
                rest = rest.dropFirst(3)
            } else {
                result.append(byte)
            }
        }
        return result
    }
}

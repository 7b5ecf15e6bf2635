import Glibc

/// Small files of git's and of our own, as a whole. Symbolic links are not followed.
enum SmallFile {
    /// The content, of a longer one its first `limit` bytes; nil when it cannot be read.
    static func read(_ path: String, limit: Int = 64 * 1024) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = Glibc.read(descriptor, &bytes, limit)
        return count < 0 ? nil : Array(bytes.prefix(count))
    }

    /// - Throws: `GitError` `publish`.
    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw fileFailure("write \(path)") }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 else { throw fileFailure("write \(path)") }
            rest = rest.dropFirst(written)
        }
    }
}

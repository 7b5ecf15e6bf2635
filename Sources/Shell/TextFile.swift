import Glibc

/// Small files as a whole.
package enum TextFile {
    /// The content; nil when the file cannot be read or is larger than `limit` bytes.
    package static func read(_ path: String, limit: Int) -> [UInt8]? {
        // Not blocking: opening a pipe that nobody writes to would wait for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            guard count > 0, bytes.count + count <= limit else { return nil }
            bytes.append(contentsOf: chunk[..<count])
        }
    }

    /// Writes a new file beside the old one and renames it; on the disk, with its name, before it returns.
    ///
    /// - Parameters:
    ///   - suffix: of the new file's name, another one for each process where several may write at once.
    ///   - made: is called with the new file's descriptor.
    /// - Returns: whether it worked; `errno` says why not.
    package static func writeDurably(
        _ bytes: [UInt8], to path: String, by suffix: String = ".new", made: (Int32) -> Void = { _ in }
    ) -> Bool {
        guard write(bytes, to: path, by: suffix, isSynced: true, made: made) else { return false }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { return false }
        defer { close(directory) }
        return fsync(directory) == 0
    }

    /// Writes a new file beside the old one and renames it: a reader sees the one or the other.
    /// - Returns: whether it worked; `errno` says why not.
    package static func write(_ text: String, to path: String) -> Bool { write(Array(text.utf8), to: path) }

    /// The same with any bytes.
    package static func write(
        _ bytes: [UInt8], to path: String, by suffix: String = ".new", isSynced: Bool = false,
        made: (Int32) -> Void = { _ in }
    ) -> Bool {
        let temporary = path + suffix
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        made(descriptor)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return discard(temporary) }
            rest = rest.dropFirst(count)
        }
        guard !isSynced || fsync(descriptor) == 0, rename(temporary, path) == 0 else { return discard(temporary) }
        return true
    }

    /// Leaves `errno` as it was.
    private static func discard(_ temporary: String) -> Bool {
        let reason = errno
        unlink(temporary)
        errno = reason
        return false
    }
}

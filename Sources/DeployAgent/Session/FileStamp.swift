import Glibc
import Shell

/// Tells whether a file is another one than before by what it holds: git and ssh write some of their files anew without a
/// change.
enum FileStamp: Equatable {
    case missing
    case content(hash: Int)
    /// Of a file that is too large to be read each time.
    case change(inode: UInt64, size: Int64, seconds: Int, nanoseconds: Int)

    private static let limit = 1 << 20

    init(_ path: String) {
        if let bytes = TextFile.read(path, limit: Self.limit) {
            self = .content(hash: bytes.hashValue)
            return
        }
        var info = stat()
        guard stat(path, &info) == 0 else {
            self = .missing
            return
        }
        self = .change(
            inode: UInt64(info.st_ino), size: Int64(info.st_size), seconds: info.st_mtim.tv_sec,
            nanoseconds: info.st_mtim.tv_nsec)
    }
}

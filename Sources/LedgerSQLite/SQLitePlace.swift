import Glibc

/// Which files a ledger's path and those of its journal led to when it was opened. As long as it is open they keep their
/// numbers, and nobody else gets them.
struct SQLitePlace: Sendable {
    private struct File: Equatable {
        let device: dev_t
        let number: ino_t

        init?(_ path: String) {
            var info = stat()
            guard stat(path, &info) == 0 else { return nil }
            (device, number) = (info.st_dev, info.st_ino)
        }
    }

    /// One without its journal is another one too: whoever opens it then makes a new journal, of which this one knows nothing.
    private let files: [(path: String, file: File)]

    /// Call it once the journal is open: it stays for as long as the ledger does.
    init(_ path: String) {
        files = ["", "-wal", "-shm"].compactMap { suffix in File(path + suffix).map { (path + suffix, $0) } }
    }

    var isAsItWas: Bool { files.allSatisfy { File($0.path) == $0.file } }
}

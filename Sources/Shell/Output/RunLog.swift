import CAgentShims
import Glibc

/// The log file of one run: everything up to a limit, else the first and the last half with a line in between that says
/// how much is missing.
///
/// Up to the limit bytes go to the file as they come, so it can be followed; beyond, the last half is kept in memory and
/// written at the end. A file that cannot be written is reported once and the run goes on.
struct RunLog {
    private var descriptor: Int32
    private let limit: Int
    private var written = 0
    private var tail: TailBuffer
    /// What failed first, if anything did.
    private(set) var failure: String?

    /// Room for the line about what is missing.
    private static let markerSpace = 64

    /// - Parameters:
    ///   - path: created with mode 0600; what was there is replaced.
    ///   - limit: the longest the file may get, in bytes.
    init(path: String, limit: Int) {
        self.limit = limit
        tail = TailBuffer(capacity: max(1, limit / 2 - Self.markerSpace))
        descriptor = agent_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
        if descriptor < 0 { failure = "cannot create \(path): \(errorText(errno))" }
        // Whatever the umask takes away.
        fchmod(descriptor, 0o600)
    }

    private var headLength: Int { limit / 2 }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let room = limit - written
        if room > 0 { write(UnsafeRawBufferPointer(rebasing: bytes.prefix(room))) }
        let beforeHead = max(0, headLength - written)
        written += min(room, bytes.count)
        if beforeHead < bytes.count {
            tail.append(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(beforeHead)))
        }
    }

    /// Completes and closes the file.
    mutating func close() {
        guard descriptor >= 0 else { return }
        let missing = tail.total - tail.capacity
        // What is past the head fits into the file as it is when nothing came beyond the limit.
        if headLength + tail.total > limit, ftruncate(descriptor, off_t(headLength)) == 0 {
            lseek(descriptor, off_t(headLength), SEEK_SET)
            var marker = "\n… \(missing) bytes are missing here …\n"
            marker.withUTF8 { write(UnsafeRawBufferPointer($0)) }
            tail.forEachPiece { piece in write(piece) }
        }
        Glibc.close(descriptor)
        descriptor = -1
    }

    private mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard descriptor >= 0 else { return }
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                if failure == nil { failure = "cannot write the run's log file: \(errorText(errno))" }
                return
            }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }
}

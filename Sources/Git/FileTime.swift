import Glibc

/// A time as stat(2) has it.
///
/// `timespec` is named here alone: other files import modules that bring it, too, and then it depends on the order of
/// compilation whose it is.
struct FileTime: Comparable {
    let seconds: Int
    let nanoseconds: Int

    static var now: FileTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return FileTime(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// Seconds since 1970.
    var total: Double { Double(seconds) + Double(nanoseconds) / 1e9 }

    static func < (first: FileTime, second: FileTime) -> Bool {
        (first.seconds, first.nanoseconds) < (second.seconds, second.nanoseconds)
    }
}

extension stat {
    var modified: FileTime { FileTime(seconds: st_mtim.tv_sec, nanoseconds: st_mtim.tv_nsec) }
    var changed: FileTime { FileTime(seconds: st_ctim.tv_sec, nanoseconds: st_ctim.tv_nsec) }
}

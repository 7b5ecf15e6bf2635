import Glibc

/// A point in time on the machine's clock that goes on while it sleeps and that nobody sets (CLOCK_BOOTTIME): the same for
/// every process.
public struct BootTime: Sendable, Comparable {
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    public static var now: BootTime {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return BootTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    public func advanced(by duration: Duration) -> BootTime {
        let parts = duration.components
        return BootTime(
            nanoseconds: nanoseconds + parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000)
    }

    /// Time from `other` to this point; negative when `other` is later.
    public func since(_ other: BootTime) -> Duration { .nanoseconds(nanoseconds - other.nanoseconds) }

    public static func < (lhs: BootTime, rhs: BootTime) -> Bool { lhs.nanoseconds < rhs.nanoseconds }
}

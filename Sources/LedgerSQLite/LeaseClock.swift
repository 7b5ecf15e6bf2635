import Glibc
import Ledger

/// The time by which leases in a file end: since the machine's start, so that a clock that is set frees none and keeps none.
enum LeaseClock {
    /// Milliseconds, sleep included (man 2 clock_gettime, `CLOCK_BOOTTIME`).
    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Which start of the machine that is; empty where the kernel does not say.
    static let boot: String = {
        let file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(file, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }()

    /// - Returns: nil when it is over. Longer than any lease it never is: then the kernel did not say which start it was.
    static func remaining(until end: Int64?, boot: String?) -> Duration? {
        guard let end, boot == Self.boot else { return nil }
        let remaining = Duration.milliseconds(end - now)
        return remaining > .zero && remaining <= Lease.duration ? remaining : nil
    }
}

import Glibc

/// Names of signals (signal(7)), as `kill -l` has them.
package enum SignalNames {
    private static let names: [(String, Int32)] = [
        ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ILL", SIGILL), ("TRAP", SIGTRAP), ("ABRT", SIGABRT),
        ("BUS", SIGBUS), ("FPE", SIGFPE), ("KILL", SIGKILL), ("USR1", SIGUSR1), ("SEGV", SIGSEGV), ("USR2", SIGUSR2),
        ("PIPE", SIGPIPE), ("ALRM", SIGALRM), ("TERM", SIGTERM), ("STKFLT", SIGSTKFLT), ("CHLD", SIGCHLD),
        ("CONT", SIGCONT), ("STOP", SIGSTOP), ("TSTP", SIGTSTP), ("TTIN", SIGTTIN), ("TTOU", SIGTTOU),
        ("URG", SIGURG), ("XCPU", SIGXCPU), ("XFSZ", SIGXFSZ), ("VTALRM", SIGVTALRM), ("PROF", SIGPROF),
        ("WINCH", SIGWINCH), ("IO", SIGIO), ("PWR", SIGPWR), ("SYS", SIGSYS),
    ]
    /// Real-time signals (signal(7)); the two before them are the C library's own.
    private static let realTime: ClosedRange<Int32> = 34...64

    /// The number of `HUP`, `SIGHUP`, `hup`, `RTMIN+3`; nil when it is none of these.
    package static func number(_ name: String) -> Int32? {
        let upper = name.uppercased()
        let short = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        if let found = names.first(where: { $0.0 == short }) { return found.1 }
        for (prefix, base) in [("RTMIN", realTime.lowerBound), ("RTMAX", realTime.upperBound)]
        where short.hasPrefix(prefix) {
            let rest = short.dropFirst(prefix.count)
            guard let number = rest.isEmpty ? base : Int32(rest).map({ base + $0 }), realTime.contains(number) else {
                return nil
            }
            return number
        }
        return nil
    }

    package static func name(_ number: Int32) -> String {
        if let found = names.first(where: { $0.1 == number }) { return "SIG\(found.0)" }
        guard realTime.contains(number) else { return "signal \(number)" }
        return number == realTime.lowerBound ? "SIGRTMIN" : "SIGRTMIN+\(number - realTime.lowerBound)"
    }
}

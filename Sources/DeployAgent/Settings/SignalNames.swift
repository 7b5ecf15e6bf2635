import Glibc

/// Names of the signals that one sends to an app (signal(7)).
enum SignalNames {
    private static let numbers: [String: Int32] = [
        "HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "KILL": SIGKILL, "USR1": SIGUSR1, "USR2": SIGUSR2,
        "TERM": SIGTERM, "ALRM": SIGALRM, "CONT": SIGCONT, "STOP": SIGSTOP, "TSTP": SIGTSTP, "WINCH": SIGWINCH,
    ]

    /// The number of `HUP`, `SIGHUP`, `hup`; nil when it is none of these.
    static func number(_ name: String) -> Int32? {
        let upper = name.uppercased()
        return numbers[upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper]
    }

    static func name(_ number: Int32) -> String {
        numbers.first { $0.value == number }.map { "SIG\($0.key)" } ?? "signal \(number)"
    }
}

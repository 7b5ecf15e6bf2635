import CAgentShims
import Synchronization

/// The signals that come to this process. Its first thread takes them, one after the other; all others have them blocked, so
/// that none is lost, none breaks off a call, and a thread to hear them is always there.
public enum ProcessSignals {
    private static let listener = Mutex<(@Sendable (Int32, Bool) -> Bool)?>(nil)

    /// Says who hears of signals from now on; until then each does what it does to any process.
    ///
    /// - Parameter listener: is given the number, and whether the kernel sent it, a terminal above all. It returns at once,
    ///   with whether that is all that becomes of the signal; if not, it does what it does to any process.
    public static func listen(_ listener: @escaping @Sendable (_ number: Int32, _ isFromKernel: Bool) -> Bool) {
        self.listener.withLock { $0 = listener }
    }

    /// Nobody hears of signals any more. What is on its way at this moment, a second one of what asked for the end say, has no
    /// effect for another two seconds; then the end hangs, and a signal does what it does to any process.
    public static func stopListening() {
        let end = ContinuousClock.now + .seconds(2)
        listen { _, _ in ContinuousClock.now < end }
    }

    /// Takes signals for as long as the process lives. Called on the first thread, after `agent_take_signals`, when the
    /// work has begun on others.
    public static func take() -> Never {
        while true {
            var isFromKernel: Int32 = 0
            let number = agent_next_signal(&isFromKernel)
            guard number > 0 else { continue }
            let isTaken = listener.withLock { $0 }?(number, isFromKernel != 0) ?? false
            if !isTaken { agent_default_action(number) }
        }
    }

    /// Whether the process has a controlling terminal.
    public static var hasTerminal: Bool { agent_has_terminal() == 1 }
}

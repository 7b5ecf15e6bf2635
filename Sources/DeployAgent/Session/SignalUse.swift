import Glibc

/// What becomes of a signal that somebody sends to the agent (signal(7)). `docs/states.md` has the whole table.
enum SignalUse: Equatable, Sendable {
    /// The kernel's alone: it cannot be caught.
    case kernel
    /// Ends the agent in order.
    case ends
    /// Makes a check at once.
    case checks
    /// Goes to the app.
    case app
    /// Goes to the app, and ends the agent with it.
    case appAndEnds
    /// Does to the agent what it does to any process: stops it at its terminal.
    case stops
    /// Nothing.
    case none

    /// Who gets the signal.
    enum Receiver: CaseIterable, Sendable {
        /// `exec` with its app.
        case app
        /// `exec` without: before it, between two runs of it, or after its end.
        case noApp
        /// `run`.
        case sidecar
        /// `run-once`, `rollback`, `tasks run`.
        case once
    }

    /// Makes a check of `exec` at once. Nobody sends it to an app, and an agent that does not know it takes no harm.
    static let wakes = SIGURG

    /// - Parameters:
    ///   - isFromKernel: sent by a terminal, and not by somebody.
    ///   - hasTerminal: whether the agent was started at one: then a signal of job control, or of a window's new size, means
    ///     no more than that.
    init(of number: Int32, to receiver: Receiver, isFromKernel: Bool, hasTerminal: Bool) {
        let isOfTerminal = [SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH].contains(number)
        switch number {
        case SIGKILL, SIGSTOP: self = .kernel
        // A child has ended: nobody means the app by it.
        case SIGCHLD: self = .none
        case Self.wakes where receiver == .app || receiver == .noApp: self = .checks
        case SIGTERM where receiver == .app: self = .appAndEnds
        case SIGTSTP where isFromKernel, SIGTTIN where isFromKernel, SIGTTOU where isFromKernel: self = .stops
        case _ where receiver == .app: self = .app
        case SIGCONT, SIGURG: self = .none
        // The agent's own, where nobody reads its log any more or a file grows past a limit: the write says so by itself.
        case SIGPIPE, SIGXFSZ: self = .none
        case SIGHUP where receiver == .sidecar: self = .checks
        case _ where isOfTerminal && (isFromKernel || hasTerminal): self = .none
        default: self = .ends
        }
    }
}

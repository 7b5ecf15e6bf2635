import CAgentShims
import Glibc
import Threads

/// A program that runs beside the agent and owns its standard streams: the app of `agent exec`.
///
/// It leads a process group of its own; at a terminal that group is in the foreground, so that Ctrl-C and Ctrl-Z reach the
/// app and not the agent.
public final class AppProcess: Sendable {
    public let pid: Int32
    private let mark: ProcessMark
    private let ending: Task<Verdict.Termination, Never>

    /// Starts the program.
    ///
    /// - Parameters:
    ///   - executable: its path, as `findProgram` gives it.
    ///   - environment: `KEY=VALUE` entries; the marker is added to them.
    ///   - marker: as for a `Command`.
    /// - Throws: `ShellError`, `notFound` and `notExecutable` told apart.
    public init(
        executable: String, arguments: [String], folder: String, environment: [[UInt8]], marker: String
    ) throws {
        // The terminal is handed on only where it was ours.
        let standardInput: Int32 = 0
        let terminal = isatty(standardInput) == 1 && tcgetpgrp(standardInput) == getpgrp() ? standardInput : nil
        let spawn = Spawn(
            executable: executable, arguments: arguments, folder: folder, environment: environment, marker: marker,
            place: .group(terminal: terminal))
        let started = Cell<Result<Int32, ShellError>?>(nil)
        let isStarted = StopSignal()
        let (ends, continuation) = AsyncStream.makeStream(of: Verdict.Termination.self)
        do {
            // On the thread that then waits for its end: where there is none, there is no app.
            try startThread("app") {
                let result = Result { () throws(ShellError) in try spawn.start() }
                started.set(result)
                isStarted.request()
                if case .success(let pid) = result { continuation.yield(Self.wait(for: pid, terminal)) }
            }
        } catch {
            throw ShellError(.resources, operation: executable, explanation: "\(error)")
        }
        while !isStarted.wait(atMost: .seconds(3600)) {}
        guard let pid = try started.get()?.get() else {
            throw ShellError(.failed, operation: executable, explanation: "it was not started")
        }
        self.pid = pid
        mark = ProcessMark(marker: marker, pid: pid)
        ending = Task { await ends.first { _ in true } ?? .signaled(Int(SIGKILL)) }
    }

    /// How it ended, once it has.
    public var termination: Verdict.Termination {
        get async { await ending.value }
    }

    /// Sends a signal to its process group.
    public func send(_ signal: Int32) {
        kill(-pid, signal)
    }

    /// Whether it catches a signal, rather than that it ends it or passes it by.
    public func catches(_ signal: Int32) -> Bool { ProcessTable.catches(signal, pid) }

    /// Ends it: SIGTERM to its group, up to `grace` for the app to end, then SIGKILL to all that it started.
    ///
    /// - Parameter hurry: once requested, a second is all that is left of the grace.
    public func end(grace: Duration, hurry: StopSignal) async {
        let mark = mark
        let pid = pid
        await onSomeThread("end-app") {
            let process = agent_pidfd_open(pid)
            defer { if process >= 0 { close(process) } }
            kill(-pid, SIGTERM)
            kill(-pid, SIGCONT)
            let deadline = Self.waitForEnd(of: pid, process, ContinuousClock.now + grace, hurry)
            let tree = ProcessTree(mark: mark, includesAdopted: false)
            _ = tree.end(grace: max(.zero, deadline - ContinuousClock.now), hurry: hurry)
        }
        _ = await termination
    }

    /// - Parameter process: a descriptor of the process, -1 where there is none.
    /// - Returns: until when what is left may take its time.
    private static func waitForEnd(
        of pid: Int32, _ process: Int32, _ deadline: ContinuousClock.Instant, _ hurry: StopSignal
    ) -> ContinuousClock.Instant {
        var deadline = deadline
        var entries = [
            pollfd(fd: process, events: Int16(POLLIN), revents: 0),
            pollfd(fd: hurry.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        while deadline > ContinuousClock.now {
            let remaining = deadline - ContinuousClock.now
            _ = poll(&entries, 2, (process >= 0 ? remaining : min(remaining, .milliseconds(100))).pollTimeout)
            // Without a descriptor the end is looked for.
            if entries[0].revents != 0 || (process < 0 && (ProcessTable.entry(pid)?.isZombie ?? true)) { break }
            if entries[1].revents != 0 {
                entries[1].fd = -1
                entries[1].revents = 0
                deadline = min(deadline, ContinuousClock.now + .seconds(1))
            }
        }
        return deadline
    }

    /// Blocks until the app has ended, and reaps it. An app that Ctrl-Z stopped stops the agent too, so that the shell that
    /// started it gets its terminal back; `fg` continues both.
    private static func wait(for pid: Int32, _ terminal: Int32?) -> Verdict.Termination {
        var value: Int32 = 0
        while true {
            let what = agent_wait_child(pid, &value)
            if what == Int32(UInt8(ascii: "t")) {
                guard let terminal else { continue }
                _ = agent_set_foreground(terminal, getpgrp())
                // To this very thread, which stops in the call: the app must not be continued before. Has no effect where no
                // shell could continue us (in a container, say): then the app goes on at once.
                agent_default_action(SIGTSTP)
                _ = agent_set_foreground(terminal, pid)
                kill(-pid, SIGCONT)
                continue
            }
            if let terminal { _ = agent_set_foreground(terminal, getpgrp()) }
            Children.reaped(pid)
            return what == Int32(UInt8(ascii: "e")) ? .exited(Int(value)) : .signaled(Int(value))
        }
    }
}

/// Ends every process of this PID namespace but its init and this one: SIGTERM, grace, SIGKILL.
///
/// For the end of a container, where this process is init's child; does nothing elsewhere.
/// - Parameter hurry: once requested, the grace is over.
public func endWholeContainer(grace: Duration, hurry: StopSignal) async {
    guard getppid() == 1, getpid() != 1, isContainerOfOurOwn else { return }
    await onSomeThread("end-container") {
        let deadline = ContinuousClock.now + grace
        kill(-1, SIGTERM)
        while ContinuousClock.now < deadline, !others().isEmpty, !hurry.wait(atMost: .milliseconds(20)) {
            Children.reapOrphans()
        }
        kill(-1, SIGKILL)
    }
}

/// Whether PID 1 runs our program: then it started this process, and the namespace is the container's.
private var isContainerOfOurOwn: Bool { ProcessTable.runsOurProgram(1) }

private func others() -> [ProcessEntry] {
    ProcessTable.all().filter { $0.pid != 1 && $0.pid != getpid() && !$0.isZombie }
}

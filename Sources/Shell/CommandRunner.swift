import CAgentShims
import Glibc
import Threads

/// Runs one command from spawn to verdict.
///
/// The command leads a session of its own, reads nothing, and prints into `output`. At its deadline, at a stop request,
/// and after a failure, everything that it started is ended: SIGTERM, grace, SIGKILL, processes that left its session
/// included. What a successful command leaves behind lives on.
///
/// The task that calls may be cancelled; the run goes on to its verdict all the same. To end it early use `stop`.
/// - Parameters:
///   - errors: receives standard error apart; nil sends it to `output`, in order.
///   - started: is called once the process exists, with what names it for good.
/// - Throws: `ShellError` when the command could not be started.
public func runCommand(
    _ command: Command,
    output: any OutputSink,
    errors: (any OutputSink)? = nil,
    stop: StopSignal? = nil,
    started: @escaping @Sendable (ProcessMark) -> Void = { _ in }
) async throws -> Verdict {
    let run = CommandRun(command: command, stop: stop, started: started)
    do {
        return try await onDedicatedThread("run") { Result { try run.carryOut(output: output, errors: errors) } }.get()
    } catch let error as NoThread {
        throw ShellError(.resources, operation: command.executable, explanation: "\(error)")
    }
}

/// One run, on one thread: everything that it needs is had before the command is started.
private struct CommandRun {
    let command: Command
    let stop: StopSignal?
    let started: @Sendable (ProcessMark) -> Void

    /// What a run opens for moments once it is under way, above all to find the processes that it has to end.
    private static let spareDescriptors: Int32 = 8

    func carryOut(output: any OutputSink, errors: (any OutputSink)?) throws -> Verdict {
        let begin = ContinuousClock.now
        let standard = try openPipe(capacity: 1024 * 1024)
        let separate: (read: Int32, write: Int32)?
        do {
            separate = try errors.map { _ in try openPipe(capacity: 0) }
        } catch {
            for end in [standard.read, standard.write] { close(end) }
            throw error
        }
        let writeEnds = [standard.write] + (separate.map { [$0.write] } ?? [])
        let pump: OutputPump
        do {
            var pipes: [(readEnd: Int32, sink: any OutputSink)] = [(standard.read, output)]
            if let separate, let errors { pipes.append((separate.read, errors)) }
            pump = try OutputPump(pipes)
        } catch {
            for end in [standard.read, separate?.read ?? -1] + writeEnds where end >= 0 { close(end) }
            throw error
        }
        let pid: Int32
        do {
            // The pump sees the end of the pipes once nobody else has them.
            defer { for end in writeEnds { close(end) } }
            guard agent_has_descriptors(Self.spareDescriptors) == 1 else { throw noDescriptor() }
            pid = try spawn(output: standard.write, errors: separate?.write ?? standard.write)
        } catch {
            pump.commandEnded()
            _ = pump.wait()
            throw error
        }
        let (cause, survivors) = supervise(pid, pump)
        let termination = try reap(pid, survivors)
        let leftBackground = pump.wait()
        Children.reapOrphans()
        return Verdict(
            termination: termination, cause: cause, survivors: survivors, leftBackground: leftBackground,
            duration: ContinuousClock.now - begin)
    }

    private func openPipe(capacity: Int32) throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard agent_pipe(&ends, capacity) == 0 else { throw noDescriptor() }
        return (ends[0], ends[1])
    }

    private func noDescriptor() -> ShellError {
        ShellError(.resources, operation: command.executable, explanation: "no descriptor: \(errorText(errno))")
    }

    private func spawn(output: Int32, errors: Int32) throws(ShellError) -> Int32 {
        let spawn = Spawn(
            executable: command.executable, arguments: command.arguments, folder: command.folder,
            environment: command.environment, marker: command.marker, place: .session(output: output, errors: errors))
        do throws(ShellError) {
            return try spawn.start()
        } catch  where error.code == .notExecutable {
            // As when it is looked for: there is no such program.
            throw ShellError(.notFound, operation: error.operation, explanation: error.explanation)
        }
    }

    /// Waits for the end, the deadline or a stop, and ends what must not live on.
    ///
    /// The process is unreaped meanwhile, so neither its id nor its session's can be another's.
    private func supervise(_ pid: Int32, _ pump: OutputPump) -> (Verdict.Cause, survivors: [Int32]) {
        let mark = ProcessMark(marker: command.marker, pid: pid)
        started(mark)
        let cause = cause(ofEnd: pid)
        let tree = ProcessTree(mark: mark, includesAdopted: command.claimsOrphans)
        // A filter that was started a moment ago does not read from its pipe yet.
        if cause == .ended, command.outputGrace > .zero, !pump.waitForEnd(atMost: .milliseconds(50)), tree.hasFilter {
            _ = pump.waitForEnd(atMost: command.outputGrace)
        }
        var survivors: [Int32] = []
        if cause != .ended || ended(pid) != .exited(0) { survivors = tree.end(grace: command.killGrace) }
        // Where no descriptor was left to look for its processes.
        if ended(pid) == nil, !survivors.contains(pid) { kill(-pid, SIGKILL) }
        pump.commandEnded()
        return (cause, survivors)
    }

    private func cause(ofEnd pid: Int32) -> Verdict.Cause {
        let cause = wait(for: pid)
        guard cause == .ended, let ended = ended(pid), Self.isOfStop(ended), let stop,
            stop.wait(atMost: command.stopGrace)
        else { return cause }
        return .stopped
    }

    /// Whether it is the end by a signal that asks to stop, of the command or of what its shell waited for.
    private static func isOfStop(_ termination: Verdict.Termination) -> Bool {
        [SIGHUP, SIGINT, SIGQUIT, SIGTERM].map(Int.init).contains { number in
            termination == .signaled(number) || termination == .exited(128 + number)
        }
    }

    private func wait(for pid: Int32) -> Verdict.Cause {
        let deadline = ContinuousClock.now + command.timeout
        let process = agent_pidfd_open(pid)
        defer { if process >= 0 { close(process) } }
        let descriptors = [process, stop?.descriptor ?? -1]
        let canWait = process >= 0 && (stop.map { $0.descriptor >= 0 } ?? true)
        while true {
            // Orphans that the run leaves to us are reaped every other second; without pidfds (Linux before 5.3) the end is
            // looked for ten times a second.
            let remaining = deadline - ContinuousClock.now
            var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&entries, 2, min(remaining.pollTimeout, canWait ? 2000 : 100))
            Children.reapOrphans()
            // The end first: a command that made it is not called timed out because we woke late.
            if ended(pid) != nil { return .ended }
            if stop?.isRequested == true { return .stopped }
            if deadline <= ContinuousClock.now { return .timedOut }
        }
    }

    /// How the command's own process, which nobody has reaped yet, ended; nil while it lives.
    private func ended(_ pid: Int32) -> Verdict.Termination? {
        var code: Int32 = 0
        var signaled: Int32 = 0
        switch agent_peek_child(pid, &code, &signaled) {
        case 0: return nil
        case 1: return signaled == 0 ? .exited(Int(code)) : .signaled(Int(code))
        // It is no child of ours: somebody else has reaped it.
        default: return .signaled(Int(SIGKILL))
        }
    }

    /// - Throws: `ShellError` when somebody else has reaped it.
    private func reap(_ pid: Int32, _ survivors: [Int32]) throws(ShellError) -> Verdict.Termination {
        guard !survivors.contains(pid) else {
            Children.abandoned(pid)
            return .signaled(Int(SIGKILL))
        }
        defer { Children.reaped(pid) }
        var value: Int32 = 0
        while true {
            switch agent_wait_child(pid, &value) {
            case Int32(UInt8(ascii: "e")): return .exited(Int(value))
            case Int32(UInt8(ascii: "s")): return .signaled(Int(value))
            case -1:
                throw ShellError(
                    .failed, operation: command.executable,
                    explanation: "how it ended is not known: \(errorText(errno))")
            default: continue
            }
        }
    }
}

/// The system's text for an error number.
package func errorText(_ number: Int32) -> String {
    String(cString: strerror(number))
}

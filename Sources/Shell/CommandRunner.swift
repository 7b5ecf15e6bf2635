import CAgentShims
import Glibc
import Subprocess
import SystemPackage

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
    // A cancelled `Subprocess.run` closes the pipes and kills only the leader. The shield keeps cancellation out of it.
    try await Task {
        try await CommandRun(command: command, stop: stop, started: started).run(output: output, errors: errors)
    }.value
}

private struct CommandRun {
    let command: Command
    let stop: StopSignal?
    let started: @Sendable (ProcessMark) -> Void

    func run(output: any OutputSink, errors: (any OutputSink)?) async throws -> Verdict {
        let begin = ContinuousClock.now
        let standard = try openPipe(capacity: 1024 * 1024)
        let separate: (read: Int32, write: Int32)?
        do {
            separate = try errors.map { _ in try openPipe(capacity: 0) }
        } catch {
            close(standard.read)
            close(standard.write)
            throw error
        }
        var pipes: [(readEnd: Int32, sink: any OutputSink)] = [(standard.read, output)]
        if let separate, let errors { pipes.append((separate.read, errors)) }
        let pump = OutputPump(pipes)

        async let heldOpen = onDedicatedThread("output") { pump.pump() }
        let ending: (Verdict.Termination, Supervision)
        do {
            ending = try await spawn(
                output: standard.write, errors: separate?.write, pump)
        } catch {
            // Every writing end is closed by now, so the pump sees the end of the pipes.
            pump.commandEnded()
            throw error
        }
        let leftBackground = await heldOpen
        Children.reapOrphans()
        return Verdict(
            termination: ending.0, cause: ending.1.cause, survivors: ending.1.survivors, leftBackground: leftBackground,
            duration: ContinuousClock.now - begin)
    }

    private func openPipe(capacity: Int32) throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard agent_pipe(&ends, capacity) == 0 else {
            throw ShellError(.resources, operation: command.executable, explanation: "no pipe: \(errorText(errno))")
        }
        return (ends[0], ends[1])
    }

    /// Spawns, supervises, and returns once the process has been reaped.
    private func spawn(
        output: Int32, errors: Int32?, _ pump: OutputPump
    ) async throws -> (Verdict.Termination, Supervision) {
        var platform = PlatformOptions()
        platform.createSession = true
        let configuration = Configuration(
            executable: .path(FilePath(command.executable)),
            arguments: Arguments(command.arguments),
            // Each entry ends in a NUL of its own: swift-subprocess copies raw entries up to the first one.
            environment: .custom(
                (command.environment.filter(Self.canBePassedOn)
                    + [Array("\(Command.markerVariable)=\(command.marker)".utf8)]).map { $0 + CollectionOfOne(0) }),
            workingDirectory: FilePath(command.folder),
            platformOptions: platform
        )
        let standard = FileDescriptorOutput.fileDescriptor(
            FileDescriptor(rawValue: output), closeAfterSpawningProcess: true)
        await Children.willSpawn(command.marker)
        let registration = Registration()
        do {
            if let errors {
                let separate = FileDescriptorOutput.fileDescriptor(
                    FileDescriptor(rawValue: errors), closeAfterSpawningProcess: true)
                let result = try await Subprocess.run(
                    configuration, input: .none, output: standard, error: separate
                ) { execution in
                    await supervise(execution.processIdentifier.value, registration, pump)
                }
                registration.finish()
                return (Self.termination(result.terminationStatus), result.closureResult)
            }
            let result = try await Subprocess.run(
                configuration, input: .none, output: standard, error: .combinedWithOutput
            ) { execution in
                await supervise(execution.processIdentifier.value, registration, pump)
            }
            registration.finish()
            return (Self.termination(result.terminationStatus), result.closureResult)
        } catch let error as SubprocessError {
            registration.finish()
            throw Self.report(error, command)
        } catch {
            registration.finish()
            throw error
        }
    }

    /// Whether an entry has a name that a program could set: others come from odd parents and make the spawn fail.
    private static func canBePassedOn(_ entry: [UInt8]) -> Bool {
        guard let first = entry.first, !(48...57).contains(first), !entry.contains(0),
            let equals = entry.firstIndex(of: UInt8(ascii: "="))
        else { return false }
        return equals > 0
    }

    /// Tells `Children` what became of the spawn, whichever way it goes.
    private final class Registration: Sendable {
        private let pid = Cell<Int32>(0)

        func spawned(_ pid: Int32) {
            self.pid.set(pid)
            Children.spawned(pid)
        }

        func finish() {
            let pid = pid.get()
            if pid == 0 { Children.spawnFailed() } else { Children.reaped(pid) }
        }
    }

    struct Supervision: Sendable {
        var cause: Verdict.Cause
        var survivors: [Int32]
    }

    /// Waits for the end, the deadline or a stop, and ends what must not live on.
    ///
    /// Runs while the process is unreaped, so neither its id nor its session's can be another's.
    private func supervise(
        _ pid: Int32, _ registration: Registration, _ pump: OutputPump
    ) async -> Supervision {
        registration.spawned(pid)
        let mark = ProcessMark(marker: command.marker, pid: pid)
        started(mark)
        let (command, stop) = (command, stop)
        return await onDedicatedThread("supervisor") {
            let cause = Self.wait(for: pid, timeout: command.timeout, stop: stop)
            let tree = ProcessTree(mark: mark, includesAdopted: command.claimsOrphans)
            // A filter that was started a moment ago does not read from its pipe yet.
            if cause == .ended, command.outputGrace > .zero, !pump.waitForEnd(atMost: .milliseconds(50)), tree.hasFilter
            {
                _ = pump.waitForEnd(atMost: command.outputGrace)
            }
            var survivors: [Int32] = []
            if cause != .ended || !Self.succeeded(pid) { survivors = tree.end(grace: command.killGrace) }
            pump.commandEnded()
            return Supervision(cause: cause, survivors: survivors)
        }
    }

    private static func wait(for pid: Int32, timeout: Duration, stop: StopSignal?) -> Verdict.Cause {
        let deadline = ContinuousClock.now + timeout
        let process = agent_pidfd_open(pid)
        defer { if process >= 0 { close(process) } }
        var entries = [
            pollfd(fd: process, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            // Orphans that the run leaves to us are reaped every other second; without pidfds (Linux before 5.3) the end is
            // looked for ten times a second.
            let remaining = deadline - ContinuousClock.now
            _ = poll(&entries, 2, min(remaining.pollTimeout, process >= 0 ? 2000 : 100))
            Children.reapOrphans()
            // The end first: a command that made it is not called timed out because we woke late.
            var code: Int32 = 0
            var signaled: Int32 = 0
            if agent_peek_child(pid, &code, &signaled) != 0 { return .ended }
            if entries[1].revents != 0 { return .stopped }
            if deadline <= ContinuousClock.now { return .timedOut }
        }
    }

    private static func succeeded(_ pid: Int32) -> Bool {
        var code: Int32 = 0
        var signaled: Int32 = 0
        return agent_peek_child(pid, &code, &signaled) == 1 && signaled == 0 && code == 0
    }

    private static func termination(_ status: TerminationStatus) -> Verdict.Termination {
        switch status {
        case .exited(let code): .exited(Int(code))
        case .signaled(let signal): .signaled(Int(signal))
        }
    }

    private static func report(_ error: SubprocessError, _ command: Command) -> ShellError {
        let reason = error.underlyingError.map { errorText($0.rawValue) }
        switch error.code {
        case .executableNotFound:
            return ShellError(.notFound, operation: command.executable, explanation: reason ?? "no such program")
        case .failedToChangeWorkingDirectory:
            return ShellError(
                .folder, operation: command.executable,
                explanation: "cannot enter \(command.folder): \(reason ?? "no such folder")")
        default:
            // The library's own text may quote the environment.
            return ShellError(.failed, operation: command.executable, explanation: reason ?? "the spawn failed")
        }
    }
}

/// The system's text for an error number.
package func errorText(_ number: Int32) -> String {
    String(cString: strerror(number))
}

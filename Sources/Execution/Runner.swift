import Git
import Glibc
package import Ledger
package import Log
import Logging
package import Shell

/// Runs one command from the recorded start to its result.
package struct Runner: Sendable {
    package let state: StateDirectory
    package let folder: WorkspaceFolder
    package let log: LogOutput
    package let environment: ProcessEnvironment
    package let stop: StopSignal
    /// For commands that run beside the workspace's deployments; nil for a deployment's own.
    private let access: (any CheckoutAccess)?

    package init(
        state: StateDirectory, folder: WorkspaceFolder, log: LogOutput, environment: ProcessEnvironment,
        stop: StopSignal, access: (any CheckoutAccess)? = nil
    ) {
        self.state = state
        self.folder = folder
        self.log = log
        self.environment = environment
        self.stop = stop
        self.access = access
    }

    /// A marker for a run that starts: random, so that no other ledger's run can have the same.
    package static func newMarker() -> String {
        var generator = SystemRandomNumberGenerator()
        let halves = [generator.next(), generator.next()].map { (half: UInt64) in
            let hex = String(half, radix: 16)
            return String(repeating: "0", count: 16 - hex.count) + hex
        }
        return halves.joined()
    }

    /// - Parameters:
    ///   - root: the checkout in which the command's folder lies; where the runner has an access, that says which one it is.
    ///   - stop: ends it; nil for what ends the agent.
    ///   - mayStart: is asked once the process exists: if not, it is ended at once.
    /// - Throws: `HostTrouble` when it was not started for a reason that says nothing of the command.
    package func run(
        _ command: RunCommand, as run: Run, in root: String, _ context: RunContext, _ settings: ExecutionSettings,
        stop: StopSignal? = nil, mayStart: @escaping @Sendable () -> Bool = { true }
    ) async throws(HostTrouble) -> RunResult {
        let pass = try await access?.enter(stop: stop ?? self.stop)
        defer { withExtendedLifetime(pass) {} }
        guard access == nil || pass != nil else {
            return RunResult(
                status: .interrupted, completedAt: .now, errorMessage: "the agent was stopped before it began")
        }
        guard let directory = resolveFolder(command.folder, below: pass?.root ?? root) else {
            throw HostTrouble(
                "\(command.folderSetting) \"\(command.folder)\" is no folder inside the checkout; it was not run")
        }
        let mark = folder.mark(run.marker)
        // Before the spawn: whatever carries the marker is found again even when the agent is killed right after it.
        guard TextFile.write(ProcessMark(marker: run.marker).text, to: mark) else {
            throw HostTrouble("cannot write \(mark): \(errorText(errno)); it was not run")
        }
        let output = RunOutput(
            path: state.log(run: run.id), secrets: log.secrets,
            lines: RunLines(
                output: log, name: command.title,
                context: [(run.kind.rawValue, run.name), ("stream", "output")] + context.fields + [
                    ("run_id", "\(run.id)")
                ]))
        let process = Command(
            executable: settings.shell, arguments: ["-c", command.text], folder: directory,
            environment: RunEnvironment.entries(
                command.environment.merging(context.variables(of: run)) { $1 }, exports: settings.exports,
                environment: environment),
            marker: run.marker, timeout: command.timeout, killGrace: settings.killGrace, outputGrace: .seconds(1))
        do {
            let stop = stop ?? self.stop
            let verdict = try await runCommand(process, output: output, stop: stop) { started in
                _ = TextFile.write(started.text, to: mark)
                if !mayStart() { stop.request() }
            }
            if let failure = output.logFailure { log.logger().warning("\(command.title): \(failure)") }
            if verdict.leftBackground && verdict.isSuccess {
                log.logger().info(
                    "\(command.title) left processes that hold its output open; they live on, what they print from now on is not kept"
                )
            }
            return Self.result(verdict, timeout: command.timeout, tail: output.tail)
        } catch let error as ShellError where error.isOfHost {
            throw HostTrouble(log.secrets.mask("\(error)"))
        } catch {
            return RunResult(
                status: .failed, completedAt: .now, outputTail: output.tail, errorMessage: log.secrets.mask("\(error)"))
        }
    }

    /// Reads a verdict as the record's words have it.
    package static func result(_ verdict: Verdict, timeout: Duration, tail: String) -> RunResult {
        var exitCode: Int?
        var signal: Int?
        switch verdict.termination {
        case .exited(let code): exitCode = code
        case .signaled(let number): signal = number
        }
        let status: RunStatus
        var message: String?
        switch (verdict.cause, verdict.termination) {
        case (.timedOut, _):
            status = .timedOut
            message = "did not finish within \(DurationText.text(timeout)) and was ended"
        case (.stopped, _):
            status = .interrupted
            message = "ended because the agent was stopped"
        case (.ended, .exited(0)):
            status = .succeeded
        case (.ended, .exited(75)):
            status = .deferred
            message = "exit code 75: asks to be tried again later"
        case (.ended, .exited(let code)):
            status = .failed
            message = "exit code \(code)"
        case (.ended, .signaled(let number)):
            status = .failed
            message = "ended by signal \(number)"
        }
        if !verdict.survivors.isEmpty {
            let ids = verdict.survivors.map(String.init).joined(separator: ", ")
            message = [message, "processes that could not be ended: \(ids)"].compactMap { $0 }.joined(separator: "; ")
        }
        return RunResult(
            status: status, exitCode: exitCode, signal: signal, completedAt: .now, outputTail: tail,
            errorMessage: message)
    }
}

import Execution
import Git
import Ledger
import Log
import Logging
import Settings
import Shell

/// How a deployment's hooks run, here or on another host, and what their results mean for it.
extension DeploymentDriver {
    func draftRun(_ hook: HookSettings, _ deployment: Int64, hookCommit: String? = nil) -> RunDraft {
        RunDraft(
            kind: .hook, name: hook.hook.rawValue, parent: .deployment(deployment), place: plan.scope,
            worker: plan.instance, marker: Runner.newMarker(),
            command: runner.log.secrets.mask(hook.command), folder: hook.folder, mode: hook.mode.rawValue,
            timeout: hook.timeout,
            attempt: plan.attempt, startedAt: .now, scope: hook.scope, hookCommit: hookCommit)
    }

    /// Records a hook for which there is nothing to do.
    func skip(_ hook: Hook, _ progress: inout DeploymentProgress) async throws {
        guard let reason = plan.changed.skipped[hook], let hook = plan.settings.hook(hook) else { return }
        logger.info("\(hook.hook.rawValue) is skipped: \(reason)")
        try await record(
            draftRun(hook, progress.id), RunResult(status: .skipped, completedAt: .now, errorMessage: reason), &progress
        )
    }

    /// Records a run that never started.
    @discardableResult
    private func record(
        _ draft: RunDraft, _ result: RunResult, _ progress: inout DeploymentProgress
    ) async throws -> Run? {
        guard let run = try await progress.write([.beginRun(draft)]).first else { return nil }
        progress.pending.append(.completeRun(run.id, result))
        return run
    }

    /// What came of a hook.
    struct Done {
        var result: RunResult
        /// How often it has failed in the series, or for the commit over all hosts, this time included.
        var failures: Int
        /// Whether it is another host's result.
        var isAdopted = false
        /// The run whose result it is; nil where the record does not have it.
        var adopted: Int64?
        var retryIn: Duration?
    }

    func run(
        _ hook: HookSettings, in root: String, _ progress: inout DeploymentProgress,
        failure: HookContext.FailedHook? = nil
    ) async throws -> Done {
        guard !runner.stop.isRequested else {
            // One that was recorded with the deployment has not started either.
            let result = Self.notBegun
            if let begun = progress.begun { progress.pending.append(.completeRun(begun.id, result)) }
            return Done(result: result, failures: 0)
        }
        let context = HookContext(
            commit: CommitContext(
                commit: plan.commit.id, previousCommit: plan.previousCommit, ref: plan.ref, trigger: plan.trigger,
                deployment: progress.id, workspace: plan.scope.workspace),
            hook: hook.hook, failure: failure, checkout: root, changed: progress.changed
        ).runContext
        var (place, hookCommit): (String, String?) = (root, nil)
        if let remote = hook.remote {
            do {
                (place, hookCommit) = try await checkOut(hook, remote, &progress)
            } catch let error as GitError {
                return try await notHad(hook, error, &progress)
            }
        }
        defer { if hook.remote != nil { HookCheckout.restore(hook.hook, runner.folder) } }
        return hook.scope == .fleet
            ? try await runForFleet(hook, in: place, hookCommit, context, &progress)
            : try await runHere(hook, in: place, hookCommit, context, &progress)
    }

    /// Brings the checkout of a hook from a repository of its own up to date.
    private func checkOut(
        _ hook: HookSettings, _ remote: RemoteSettings, _ progress: inout DeploymentProgress
    ) async throws -> (String, String) {
        waiting(plan.settings.gitTimeout * 20)
        var remoteGit = remoteGit
        let git = try remoteGit.program(for: remote, plan.settings).program
        let (path, commit, warnings) = try await HookCheckout(
            hook: hook.hook, remote: remote, folder: runner.folder, settings: plan.settings.git, logger: logger
        ).update(git)
        progress.warnings += warnings
        logger.info("\(hook.hook.rawValue) is that of \(commit.prefix(7)) from \(remote.remote.displayURL)")
        return (path, commit)
    }

    private func notHad(
        _ hook: HookSettings, _ error: GitError, _ progress: inout DeploymentProgress
    ) async throws -> Done {
        var result = HookCheckout.result(of: error, mode: hook.mode)
        result.errorMessage = result.errorMessage.map(runner.log.secrets.mask)
        let failures = plan.series == nil ? 0 : try await failures(of: hook, progress)
        if let run = try await record(draftRun(hook, progress.id), result, &progress) {
            say(hook, run, result, &progress)
        }
        return Done(result: result, failures: failures + (result.status.isFailure ? 1 : 0))
    }

    private static var notBegun: RunResult {
        RunResult(status: .interrupted, completedAt: .now, errorMessage: "the agent was stopped before it began")
    }

    private func runHere(
        _ hook: HookSettings, in root: String, _ hookCommit: String?, _ context: RunContext,
        _ progress: inout DeploymentProgress
    ) async throws -> Done {
        // Asked before it runs: when it has failed, the record may be out of reach.
        let failures = plan.series == nil ? 0 : try await failures(of: hook, progress)
        let run: Run
        if let begun = progress.begun {
            run = begun
            progress.begun = nil
        } else {
            guard
                let begun = try await progress.write([.beginRun(draftRun(hook, progress.id, hookCommit: hookCommit))])
                    .first
            else {
                throw LedgerError(
                    .corrupt, operation: "write", location: "record", explanation: "a run that began has no id")
            }
            run = begun
        }
        say(hook, begins: run)
        let result: RunResult
        do {
            result = try await runner.run(hook.runCommand, as: run, in: root, context, plan.settings.execution)
        } catch {
            // It is this host's hook, and has failed here.
            result = RunResult(status: .failed, completedAt: .now, errorMessage: error.description)
        }
        progress.pending.append(.completeRun(run.id, result))
        progress.marks.append(run.marker)
        say(hook, run, result, &progress)
        let hasFailed = result.status.isFailure
        return Done(result: result, failures: failures + (hasFailed ? 1 : 0))
    }

    private func failures(of hook: HookSettings, _ progress: DeploymentProgress) async throws -> Int {
        let (ledger, series) = (ledger, progress.recorded.series)
        return try await progress.writer.ask { try await ledger.failures(series: series, name: hook.hook.rawValue) }
    }

    private func runForFleet(
        _ hook: HookSettings, in root: String, _ hookCommit: String?, _ context: RunContext,
        _ progress: inout DeploymentProgress
    ) async throws -> Done {
        // In the order in which it happened: what is pending comes before what the claim writes.
        try await progress.write([])
        let draft = draftRun(hook, progress.id, hookCommit: hookCommit)
        let request = ClaimRequest(
            scope: plan.scope, commit: plan.commit.id, holder: plan.instance, run: draft, retries: hook.retries.limit,
            isLenient: hook.mode == .lenient,
            // What failed elsewhere is no reason for this host's first attempt to run it again at once.
            ignoresBackoff: !plan.trigger.respectsBackoff && plan.attempt > 1,
            // What ran for the commit when it was deployed first says nothing of the way back to it.
            isForced: plan.isForced || plan.trigger == .rollback)
        let leased = LeasedRunner(
            store: ledger, command: hook.runCommand, settings: plan.settings.execution, runner: runner,
            writer: progress.writer,
            logger: logger)
        switch try await leased.run(request, in: root, context, waiting: { waiting(.zero) }) {
        case .stopped, .held: return Done(result: Self.notBegun, failures: 0)
        case .ran(let run, let result, let failures):
            progress.marks.append(run.marker)
            say(hook, run, result, &progress)
            return Done(result: result, failures: failures)
        case .lost(let run, let message):
            progress.marks.append(run.marker)
            return Done(
                result: RunResult(status: .interrupted, completedAt: .now, errorMessage: message), failures: 0)
        case .notHere(let run, let message):
            progress.marks.append(run.marker)
            let result = RunResult(
                status: .deferred, completedAt: .now, errorMessage: "this host cannot run it: \(message)")
            say(hook, run, result, &progress)
            return Done(result: result, failures: 0)
        case .adopted(let run, var result, let failures, let retryIn, _):
            // Which one ran there, that run says.
            var draft = draft
            draft.hookCommit = nil
            result.completedAt = .now
            progress.pending.append(.adoptRun(draft, of: run, result))
            if hook.mode == .lenient, result.status.isFailure { progress.warnings += 1 }
            return Done(
                result: RunResult(result), failures: failures, isAdopted: true, adopted: run, retryIn: retryIn)
        }
    }

    private func logger(_ hook: HookSettings, _ run: Run) -> Logger {
        var logger = logger
        logger[metadataKey: "hook"] = "\(hook.hook.rawValue)"
        logger[metadataKey: "run_id"] = "\(run.id)"
        return logger
    }

    private func say(_ hook: HookSettings, begins run: Run) {
        logger(hook, run).info(
            "\(run.name): \(run.command) (run \(run.id), in \(hook.folder), at most \(DurationText.text(hook.timeout)))"
        )
    }

    private func say(_ hook: HookSettings, _ run: Run, _ result: RunResult, _ progress: inout DeploymentProgress) {
        let (name, logger) = (run.name, logger(hook, run))
        let took = DurationText.text(.milliseconds(max(1, result.completedAt.millisecondsSince(run.startedAt))))
        switch result.status {
        case .succeeded: logger.info("\(name) succeeded in \(took)")
        case .deferred, .interrupted: logger.notice("\(name) \(result.status.rawValue): \(result.errorMessage ?? "")")
        default:
            let message =
                "\(name) \(result.status.rawValue.replacing("_", with: " ")) after \(took): \(result.errorMessage ?? "")"
            if hook.mode == .lenient {
                progress.warnings += 1
                logger.warning("\(message)\(hook.hook == .failedDeploy ? "" : "; lenient: the deployment goes on")")
            } else {
                logger.error("\(message)")
            }
        }
    }

    /// What a run's result means for the deployment; nil when it goes on.
    func ending(of hook: HookSettings, _ done: Done) -> Ending? {
        let result = done.result
        let text =
            "\(hook.hook.rawValue) \(result.status.rawValue.replacing("_", with: " ")): \(result.errorMessage ?? "")"
            + (done.isAdopted ? " (\(done.adopted.map { "run \($0) " } ?? "")on another host)" : "")
        switch result.status {
        case .succeeded, .running, .skipped: return nil
        case .interrupted: return .interrupted(text)
        case .deferred: return .deferred(text)
        case .failed, .timedOut:
            guard hook.mode == .strict else { return nil }
            return .failed(
                text, settled: plan.isTriedOnce || !hook.retries.allows(afterFailures: done.failures),
                failures: done.failures, retryIn: done.retryIn)
        }
    }
}

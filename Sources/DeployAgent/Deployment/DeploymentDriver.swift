import Git
import Glibc
import Ledger
import Logging
import Shell

/// What is to be deployed, decided and checked; nothing of it has happened yet.
struct DeploymentPlan: Sendable {
    var scope: Scope
    var commit: CommitInfo
    var ref: String?
    var trigger: Trigger
    var attempt: Int
    var series: Int64?
    var previousCommit: String?
    var settings: Settings
    /// Deployed although the commit is settled, since a person said so.
    var isForced: Bool
    /// This process among all agents.
    var instance: String
    /// Nil when the workspace itself is watched: then there is nothing to publish.
    var source: Source?

    /// Where the commit comes from.
    struct Source: Sendable {
        var store: CommitStore
        var remoteURL: String
        var git: GitProgram
        /// Fetches the commit anew when the store turns out to be damaged; returns whether it was.
        var repair: @Sendable () async throws -> Bool
    }
}

/// What happens between publishing and POST_DEPLOY: the app starts or hears of the new commit.
typealias BeforePost = @Sendable (DeploymentPlan) async -> Void

/// Carries a deployment out: PRE_DEPLOY, publish, POST_DEPLOY, each step recorded before it begins.
struct DeploymentDriver: Sendable {
    let plan: DeploymentPlan
    let ledger: any LedgerStore
    let runner: HookRunner
    /// In JSON every line says commit and, once there is one, deployment.
    private(set) var logger: Logger
    let beforePost: BeforePost?
    let spool: Spool
    /// Is called from time to time while another host runs a hook for this one.
    let waiting: @Sendable () -> Void

    /// How the work ended, before it is settled.
    private enum Ending {
        case succeeded
        /// - failures: how often that has happened in the series, this time included.
        /// - retryIn: when it is tried again, where that is known from elsewhere.
        case failed(String, settled: Bool, failures: Int, retryIn: Duration? = nil)
        case deferred(String)
        case interrupted(String)
    }

    private var workspace: Workspace {
        Workspace(path: plan.scope.workspace, stateDirectory: runner.state.path)
    }
    private var pre: HookSettings? { plan.settings.hook(.preDeploy) }
    private var post: HookSettings? { plan.settings.hook(.postDeploy) }
    private var isStaged: Bool { plan.source != nil && plan.settings.isGated && pre != nil }

    /// - Returns: the deployment as recorded, with the ids of its runs.
    /// - Throws: before the first record `GitError` or `LedgerError`, and nothing was run; after it `LedgerError` only,
    ///   when the end could not be recorded.
    mutating func deploy() async throws -> Deployment {
        logger[metadataKey: "commit"] = "\(plan.commit.id)"
        if isStaged, let source = plan.source { try await source.store.stage(plan.commit.id, source.git) }
        var progress = try await begin()
        logger[metadataKey: "deployment_id"] = "\(progress.id)"
        let short = plan.commit.id.prefix(7)
        logger.info(
            "deploying \(short) \"\(plan.commit.subject)\" (deployment \(progress.id), attempt \(plan.attempt), \(plan.trigger.rawValue))"
        )
        let ending: Ending
        do {
            ending = try await work(&progress)
        } catch let error as GitError where error.code == .stopped {
            ending = .interrupted(error.explanation)
        } catch let error as GitError {
            ending = .failed(error.description, settled: false, failures: plan.attempt)
        }
        let result = self.result(ending, warnings: progress.warnings)
        var entries: [LedgerEntry] = [.completeDeployment(progress.id, result)]
        if result.settled, plan.settings.notifications != nil {
            entries.append(.notify(deployment: progress.id, at: result.completedAt))
        }
        try await progress.write(entries)
        if isStaged { try? plan.source?.store.discardStage() }
        announce(result, short)
        await tidy()
        return progress.deployment(after: result)
    }

    // MARK: - Steps

    private func work(_ progress: inout Progress) async throws -> Ending {
        var preSucceeded = false
        if let pre {
            // Without the gate the workspace moves first.
            if !isStaged { try await publish(stagedOutput: false, &progress) }
            let root = isStaged ? plan.source?.store.stage ?? plan.scope.workspace : plan.scope.workspace
            let done = try await run(pre, in: root, &progress)
            if let ending = ending(of: pre, done) {
                try await runFailed(after: pre, done.result, ending, in: root, &progress)
                return ending
            }
            // Where it ran elsewhere it has written nothing here.
            preSucceeded = done.result.status == .succeeded && done.adopted == nil
        }
        if isStaged || pre == nil { try await publish(stagedOutput: isStaged && preSucceeded, &progress) }
        await beforePost?(plan)
        if let post {
            let done = try await run(post, in: plan.scope.workspace, &progress)
            if let ending = ending(of: post, done) {
                try await runFailed(after: post, done.result, ending, in: plan.scope.workspace, &progress)
                return ending
            }
        }
        return .succeeded
    }

    /// Runs FAILED_DEPLOY where the failed hook ran. How it ends changes nothing but the record and the warnings.
    private func runFailed(
        after hook: HookSettings, _ result: RunResult, _ ending: Ending, in root: String, _ progress: inout Progress
    ) async throws {
        guard case .failed = ending, let failed = plan.settings.hook(.failedDeploy) else { return }
        _ = try await run(
            failed, in: root, &progress,
            failure: HookContext.Failure(hook: hook.hook, status: result.status, exitCode: result.exitCode))
    }

    /// Records the deployment and, when a hook comes first, its run, in one durable write.
    private func begin() async throws -> Progress {
        let draft = DeploymentDraft(
            scope: plan.scope, commit: plan.commit.id, subject: runner.log.secrets.mask(plan.commit.subject),
            author: runner.log.secrets.mask(plan.commit.author), ref: plan.ref.map(runner.log.secrets.mask),
            previousCommit: plan.previousCommit,
            trigger: plan.trigger, attempt: plan.attempt, series: plan.series, startedAt: .now)
        // With nothing to publish and nothing to wait for before it, the first hook begins with the deployment.
        let first = isStaged ? pre : plan.source == nil ? pre ?? (beforePost == nil ? post : nil) : nil
        var firstRun: (@Sendable (Int64) -> RunDraft)?
        if let first, first.scope == .host { firstRun = { deployment in draftRun(first, deployment) } }
        let (deployment, run) = try await ledger.begin(draft, firstRun: firstRun)
        return Progress(
            recorded: deployment, begun: run,
            writer: LedgerWriter(ledger: ledger, spool: spool, logger: logger, stop: runner.stop), folder: runner.folder
        )
    }

    private func draftRun(_ hook: HookSettings, _ deployment: Int64) -> RunDraft {
        RunDraft(
            kind: .hook, name: hook.hook.rawValue, parent: deployment, marker: HookRunner.newMarker(),
            command: runner.log.secrets.mask(hook.command), folder: hook.folder, mode: hook.mode.rawValue,
            timeout: hook.timeout,
            attempt: plan.attempt, startedAt: .now, scope: hook.scope)
    }

    /// What came of a hook.
    private struct Done {
        var result: RunResult
        /// How often it has failed in the series, or for the commit over all hosts, this time included.
        var failures: Int
        /// The run on another host whose result it is.
        var adopted: Int64?
        var retryIn: Duration?
    }

    private func run(
        _ hook: HookSettings, in root: String, _ progress: inout Progress, failure: HookContext.Failure? = nil
    ) async throws -> Done {
        guard !runner.stop.isRequested else {
            // One that was recorded with the deployment has not started either.
            let result = Self.notBegun
            if let begun = progress.begun { progress.pending.append(.completeRun(begun.id, result)) }
            return Done(result: result, failures: 0)
        }
        let context = HookContext(
            commit: plan.commit.id, previousCommit: plan.previousCommit, ref: plan.ref, hook: hook.hook,
            attempt: plan.attempt,
            trigger: plan.trigger, deployment: progress.id, run: 0, workspace: plan.scope.workspace,
            failure: failure)
        let done =
            hook.scope == .fleet
            ? try await runForFleet(hook, in: root, context, &progress)
            : try await runHere(hook, in: root, context, &progress)
        return done
    }

    private static var notBegun: RunResult {
        RunResult(status: .interrupted, completedAt: .now, errorMessage: "the agent was stopped before it began")
    }

    private func runHere(
        _ hook: HookSettings, in root: String, _ context: HookContext, _ progress: inout Progress
    ) async throws -> Done {
        // Asked before it runs: when it has failed, the record may be out of reach.
        let failures = plan.series == nil ? 0 : try await failures(of: hook, progress)
        let run: Run
        if let begun = progress.begun {
            run = begun
            progress.begun = nil
        } else {
            guard let begun = try await progress.write([.beginRun(draftRun(hook, progress.id))]).first else {
                throw LedgerError(
                    .corrupt, operation: "write", location: "record", explanation: "a run that began has no id")
            }
            run = begun
        }
        say(hook, begins: run)
        var context = context
        context.run = run.id
        let result = await runner.run(hook, as: run, in: root, context, plan.settings)
        progress.pending.append(.completeRun(run.id, result))
        progress.marks.append(run.marker)
        say(hook, run, result, &progress)
        let hasFailed = result.status == .failed || result.status == .timedOut
        return Done(result: result, failures: failures + (hasFailed ? 1 : 0))
    }

    private func failures(of hook: HookSettings, _ progress: Progress) async throws -> Int {
        let (ledger, series) = (ledger, progress.recorded.series)
        return try await progress.writer.ask { try await ledger.failures(series: series, name: hook.hook.rawValue) }
    }

    private func runForFleet(
        _ hook: HookSettings, in root: String, _ context: HookContext, _ progress: inout Progress
    ) async throws -> Done {
        guard let store = ledger as? any FleetStore else {
            throw LedgerError(
                .failed, operation: "claim \(hook.hook.rawValue) in", location: "record",
                explanation: "a hook for the whole fleet needs a PostgreSQL ledger")
        }
        // In the order in which it happened: what is pending comes before what the claim writes.
        try await progress.write([])
        let draft = draftRun(hook, progress.id)
        let fleet = FleetHookRunner(
            store: store, hook: hook, plan: plan, runner: runner, writer: progress.writer, logger: logger)
        switch try await fleet.run(draft, in: root, context, waiting: waiting) {
        case .stopped: return Done(result: Self.notBegun, failures: 0)
        case .ran(let run, let result, let failures):
            progress.marks.append(run.marker)
            say(hook, run, result, &progress)
            return Done(result: result, failures: failures)
        case .lost(let run, let message):
            progress.marks.append(run.marker)
            return Done(
                result: RunResult(status: .interrupted, completedAt: .now, errorMessage: message), failures: 0)
        case .adopted(let run, var result, let failures, let retryIn):
            result.completedAt = .now
            result.outputTail = ""
            progress.pending.append(.adoptRun(draft, of: run, result))
            if hook.mode == .lenient, result.status == .failed || result.status == .timedOut { progress.warnings += 1 }
            return Done(result: result, failures: failures, adopted: run, retryIn: retryIn)
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

    private func say(_ hook: HookSettings, _ run: Run, _ result: RunResult, _ progress: inout Progress) {
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
    private func ending(of hook: HookSettings, _ done: Done) -> Ending? {
        let result = done.result
        let text =
            "\(hook.hook.rawValue) \(result.status.rawValue.replacing("_", with: " ")): \(result.errorMessage ?? "")"
            + (done.adopted.map { " (run \($0) on another host)" } ?? "")
        switch result.status {
        case .succeeded, .running, .skipped: return nil
        case .interrupted: return .interrupted(text)
        case .deferred: return .deferred(text)
        case .failed, .timedOut:
            guard hook.mode == .strict else { return nil }
            return .failed(
                text, settled: !hook.retries.allows(afterFailures: done.failures), failures: done.failures,
                retryIn: done.retryIn)
        }
    }

    private func publish(stagedOutput: Bool, _ progress: inout Progress) async throws {
        guard let source = plan.source else { return }
        guard !runner.stop.isRequested else {
            throw GitError(.stopped, operation: "publish", explanation: "the agent was stopped before publishing")
        }
        // Before the first file moves: from here on the workspace may hold this commit, or parts of it, and the decision
        // about another one must know, also after a failure or a crash.
        try await progress.write([.publish(deployment: progress.id)])
        progress.isPublished = true
        let publish = {
            try await workspace.publish(
                plan.commit.id, from: source.store, stagedOutput: stagedOutput, origin: source.remoteURL, source.git)
        }
        let discarded: Workspace.Discarded
        do {
            discarded = try await publish()
        } catch let error as GitError where error.code == .publish {
            // What PRE_DEPLOY wrote lies with the store: then the next attempt starts from the beginning, on a sound one.
            guard try await source.repair(), !stagedOutput else { throw error }
            discarded = try await publish()
        }
        for lock in discarded.locks { logger.notice("removed a lock that a killed git left: \(lock)") }
        if let index = discarded.damagedIndex {
            logger.warning("git could not read the workspace's index and made it anew; the old one is \(index)")
        }
        if !discarded.paths.isEmpty {
            let shown = discarded.paths.prefix(20).joined(separator: ", ")
            let more = discarded.paths.count > 20 ? " and \(discarded.paths.count - 20) more" : ""
            logger.notice("discarded changes in the workspace: \(shown)\(more)")
        }
        logger.info("published \(plan.commit.id.prefix(7)) to \(plan.scope.workspace)")
    }

    // MARK: - The end

    private func result(_ ending: Ending, warnings: Int) -> DeploymentResult {
        let now = Timestamp.now
        switch ending {
        case .succeeded:
            return DeploymentResult(status: .succeeded, settled: true, warnings: warnings, completedAt: now)
        case .failed(let message, let settled, let failures, let retryIn):
            let delay = retryIn ?? Backoff.delay(afterFailures: failures, interval: plan.settings.interval)
            return DeploymentResult(
                status: .failed, settled: settled, retryAt: settled ? nil : now.advanced(by: delay), warnings: warnings,
                completedAt: now, errorMessage: runner.log.secrets.mask(message))
        case .deferred(let message):
            // The next regular check comes after at least nine tenths of the interval; one right after this deployment,
            // which looks for a newer commit, must not find this one due.
            return DeploymentResult(
                status: .deferred, settled: false,
                retryAt: now.advanced(by: plan.settings.interval * 0.85),
                warnings: warnings,
                completedAt: now, errorMessage: message)
        case .interrupted(let message):
            return DeploymentResult(
                status: .interrupted, settled: false, warnings: warnings, completedAt: now, errorMessage: message)
        }
    }

    private func announce(_ result: DeploymentResult, _ short: Substring) {
        switch result.status {
        case .succeeded:
            logger.info(
                "deployed \(short)\(result.warnings > 0 ? " with \(result.warnings) warning\(result.warnings == 1 ? "" : "s")" : "")"
            )
        case .deferred:
            logger.notice("deployment of \(short) deferred; tried again at the next check")
        case .interrupted:
            logger.notice("deployment of \(short) interrupted; it is due again")
        default:
            let next =
                result.settled
                ? "its retries are used up: no further attempt until a new commit or `agent retry`"
                : "next attempt \(result.retryAt.map { "at \($0.rfc3339)" } ?? "at the next check")"
            logger.error("deployment of \(short) failed: \(result.errorMessage ?? ""); \(next)")
        }
    }

    /// Housekeeping after a deployment: what fails here is no failure of the deployment.
    private func tidy() async {
        do {
            let runs = try await ledger.prune(plan.scope, keep: plan.settings.keep, limit: 1000)
            for run in runs { unlink(runner.state.log(run: run)) }
        } catch {
            logger.warning("old deployments could not be deleted: \(error)")
        }
        if let source = plan.source, !runner.stop.isRequested {
            await source.store.tidy(source.git)
            await workspace.tidy(source.git)
        }
    }
}

/// How far a deployment has come, and what the record is still to be told.
private struct Progress {
    let recorded: Deployment
    /// A run recorded as `running` that has not been started.
    var begun: Run?
    let writer: LedgerWriter
    let folder: WorkspaceFolder
    var warnings = 0
    var isPublished = false
    /// Results that go into the record together with whatever comes next.
    var pending: [LedgerEntry] = []
    /// Markers of runs that have ended.
    var marks: [String] = []

    init(recorded: Deployment, begun: Run?, writer: LedgerWriter, folder: WorkspaceFolder) {
        self.recorded = recorded
        self.begun = begun
        self.writer = writer
        self.folder = folder
    }

    var id: Int64 { recorded.id }

    /// The deployment as the record has it, or will have it.
    func deployment(after result: DeploymentResult) -> Deployment {
        var deployment = recorded
        deployment.published = isPublished
        deployment.status = result.status
        deployment.settled = result.settled
        deployment.retryAt = result.retryAt
        deployment.warnings = result.warnings
        deployment.completedAt = result.completedAt
        deployment.errorMessage = result.errorMessage
        return deployment
    }

    /// Writes what is pending and the entries; then, not before, forgets the processes of the runs that have ended.
    @discardableResult
    mutating func write(_ entries: [LedgerEntry]) async throws -> [Run] {
        let runs = try await writer.write(pending + entries)
        pending = []
        for mark in marks { unlink(folder.mark(mark)) }
        marks = []
        return runs
    }
}

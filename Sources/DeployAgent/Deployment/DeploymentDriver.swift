import Execution
import Git
import Glibc
import Ledger
import Log
import Logging
import Settings
import Shell

/// What happens between publishing and POST_DEPLOY: the app starts or hears of the new commit.
typealias BeforePost = @Sendable (DeploymentPlan) async -> Void

/// Carries a deployment out: PRE_DEPLOY, publish, POST_DEPLOY, each step recorded before it begins.
struct DeploymentDriver: Sendable {
    private(set) var plan: DeploymentPlan
    let ledger: any LedgerStore
    let runner: Runner
    /// In JSON every line says commit and, once there is one, deployment.
    private(set) var logger: Logger
    let afterPublish: any AfterPublishWork
    let beforePost: BeforePost?
    let spool: Spool
    /// Is called before what takes longer than the hooks, with how long that may be.
    let waiting: @Sendable (Duration) -> Void
    let remoteGit: RemoteGit
    let wayBack: WayBackNote
    /// When a task is to be looked at again; nil when none is.
    private(set) var tasksRetryAt: Timestamp?

    /// The release in which PRE_DEPLOY runs, where the workspace is a link.
    private(set) var release: Release?

    /// How the work ended, before it is settled.
    enum Ending {
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
    /// The hooks that run.
    private var pre: HookSettings? { hook(.preDeploy) }
    private var post: HookSettings? { hook(.postDeploy) }
    private func hook(_ hook: Hook) -> HookSettings? {
        plan.changed.skipped[hook] == nil ? plan.settings.hook(hook) : nil
    }
    private var isStaged: Bool { plan.source != nil && plan.settings.isGated && pre != nil }
    /// Nil where the workspace is a checkout itself.
    private var releases: Releases? {
        guard let source = plan.source, plan.settings.publish.mode == .symlink else { return nil }
        return Releases(
            of: source.store, workspace: plan.scope.workspace, adoptsLink: plan.settings.publish.adoptsLink)
    }

    /// - Returns: the deployment as recorded, with the ids of its runs.
    /// - Throws: before the first record `GitError` or `LedgerError`, and nothing was run; after it `LedgerError` only,
    ///   when the end could not be recorded.
    mutating func deploy() async throws -> Deployment {
        logger[metadataKey: "commit"] = "\(plan.commit.id)"
        // What keeps it from being published is found before a hook has run for nothing.
        let obstacle = try await obstacle()
        if obstacle == nil, isStaged, let source = plan.source { try await stage(source) }
        var progress = try await begin(withRun: obstacle == nil)
        logger[metadataKey: "deployment_id"] = "\(progress.id)"
        let short = plan.commit.id.prefix(7)
        logger.info(
            "deploying \(short) \"\(plan.commit.subject)\" (deployment \(progress.id), attempt \(plan.attempt), \(plan.trigger.rawValue))"
        )
        // Read while the record is there; at the end it may be away.
        let failed = await failureOfHeld()
        for warning in plan.warnings {
            progress.warnings += 1
            logger.warning("\(warning)")
        }
        let ending: Ending
        do {
            if let obstacle { throw obstacle }
            ending = try await work(&progress)
        } catch let error as GitError where error.code == .stopped {
            ending = .interrupted(error.explanation)
        } catch let error as GitError {
            ending = .failed(error.description, settled: false, failures: plan.attempt)
        }
        // Before the end is on record: then nothing but this says that there is a way back to go.
        var isWayBackNeeded = false
        if case .failed = ending, progress.hasFailedPublished, plan.trigger != .rollback {
            isWayBackNeeded = await wayBack.leave(after: progress.recorded)
        }
        progress.tasks.announce()
        tasksRetryAt = progress.tasks.retryAt
        var result = self.result(ending, warnings: progress.warnings + progress.tasks.warnings)
        result.tasks = progress.tasks.counts
        // What failed and is held from now on is told of before the rollback from it.
        var settled = progress.isPublished ? failed : []
        var entries: [LedgerEntry] =
            settled.map { .settle(deployment: $0) } + [.completeDeployment(progress.id, result)]
        if result.settled { settled.append(progress.id) }
        if plan.settings.notifications != nil {
            entries += settled.map { .notify(deployment: $0, at: result.completedAt) }
        }
        try await progress.write(entries)
        if isStaged { discardStage() }
        announce(result, short, isPublished: progress.isPublished, isFollowed: isWayBackNeeded)
        // What is gone back to must not be tidied away.
        if !isWayBackNeeded { await tidy(progress.deployment(after: result)) }
        return progress.deployment(after: result)
    }

    // MARK: - Steps

    /// What in the workspace keeps the commit from being published there as a whole; nil where nothing does.
    private func obstacle() async throws -> GitError? {
        guard let source = plan.source else { return nil }
        do {
            guard releases == nil else {
                try Workspace.expectPlace(for: workspace.path, plan.commit.id)
                return nil
            }
            try await workspace.expectRoom(for: plan.commit.id, from: source.store, submodules: source.submodules)
            return nil
        } catch let error as GitError where error.code == .obstructed {
            return error
        }
    }

    private func work(_ progress: inout DeploymentProgress) async throws -> Ending {
        var before: Done?
        try await skip(.preDeploy, &progress)
        if let pre {
            // Without the gate the workspace moves first.
            if !isStaged { try await publish(stagedOutput: false, &progress) }
            let root =
                isStaged ? release?.path ?? plan.source?.store.stage ?? plan.scope.workspace : plan.scope.workspace
            let done = try await run(pre, in: root, &progress)
            if let ending = ending(of: pre, done) {
                progress.hasFailedPublished = !isStaged && plan.source != nil
                try await runFailed(after: pre, done.result, ending, in: root, &progress)
                return ending
            }
            before = done
        }
        let hasFailed = before.map { $0.result.status != .succeeded } ?? false
        if isStaged || pre == nil {
            // Where it ran elsewhere it has written nothing here, and its release is as good as a new one.
            let hasOutput = before?.isAdopted != true || release != nil
            try await publish(stagedOutput: isStaged && !hasFailed && hasOutput, &progress)
        }
        // Nothing is done once for all on top of a PRE_DEPLOY that was lenient and failed.
        if !hasFailed {
            await progress.tasks.begin(plan.tasks)
        } else if plan.tasks.areThere {
            logger.notice("no task is run on top of a PRE_DEPLOY that failed")
        }
        try await runTasks(.beforeApp, &progress)
        await beforePost?(plan)
        try await skip(.postDeploy, &progress)
        if let post {
            let done = try await run(post, in: plan.scope.workspace, &progress)
            if let ending = ending(of: post, done) {
                progress.hasFailedPublished = plan.source != nil
                try await runFailed(after: post, done.result, ending, in: plan.scope.workspace, &progress)
                return ending
            }
        }
        try await runTasks(.afterApp, &progress)
        return .succeeded
    }

    private func runTasks(_ when: OneTimeTask.When, _ progress: inout DeploymentProgress) async throws {
        guard progress.tasks.isDue(when) else { return }
        // In the order in which it happened: what is pending comes before what the claims write.
        try await progress.write([])
        await progress.tasks.run(when)
    }

    /// Runs FAILED_DEPLOY where the failed hook ran. How it ends changes nothing but the record and the warnings.
    private func runFailed(
        after hook: HookSettings, _ result: RunResult, _ ending: Ending, in root: String,
        _ progress: inout DeploymentProgress
    ) async throws {
        guard case .failed = ending, let failed = plan.settings.hook(.failedDeploy) else { return }
        _ = try await run(
            failed, in: root, &progress,
            failure: HookContext.FailedHook(hook: hook.hook, status: result.status, exitCode: result.exitCode))
    }

    /// Records the deployment and, when a hook comes first, its run, in one durable write.
    private func begin(withRun: Bool) async throws -> DeploymentProgress {
        let draft = DeploymentDraft(
            scope: plan.scope, commit: plan.commit.id, subject: runner.log.secrets.mask(plan.commit.subject),
            author: runner.log.secrets.mask(plan.commit.author), ref: plan.ref.map(runner.log.secrets.mask),
            previousCommit: plan.previousCommit,
            trigger: plan.trigger, attempt: plan.attempt, series: plan.series, startedAt: .now, held: plan.held,
            withPre: plan.withPre)
        // With nothing to publish and nothing to wait for before it, the first hook begins with the deployment.
        var hasTasks = false
        if case .success(let file?) = plan.tasks { hasTasks = !file.tasks.isEmpty }
        let first = isStaged ? pre : plan.source == nil ? pre ?? (hasTasks || beforePost != nil ? nil : post) : nil
        var firstRun: (@Sendable (Int64) -> RunDraft)?
        if withRun, let first, first.scope == .host, first.remote == nil {
            firstRun = { deployment in draftRun(first, deployment) }
        }
        let (deployment, run) = try await ledger.begin(draft, firstRun: firstRun)
        let writer = LedgerWriter(ledger: ledger, spool: spool, logger: logger, stop: runner.stop)
        let occasion = WorkOccasion(
            scope: plan.scope, commit: plan.commit.id, ref: plan.ref, previousCommit: plan.previousCommit,
            trigger: plan.trigger, deployment: deployment.id, settings: plan.settings, instance: plan.instance)
        return DeploymentProgress(
            recorded: deployment, begun: run, writer: writer, folder: runner.folder,
            changed: plan.settings.hooks.isEmpty ? nil : plan.changed.write(runner.folder),
            tasks: afterPublish.step(
                occasion,
                WorkTools(ledger: ledger, runner: runner, writer: writer, logger: logger, waiting: waiting)))
    }

    private func publish(stagedOutput: Bool, _ progress: inout DeploymentProgress) async throws {
        guard let source = plan.source else { return }
        let turn = await turn(&progress)
        defer { withExtendedLifetime(turn) {} }
        guard !runner.stop.isRequested else {
            throw GitError(.stopped, operation: "publish", explanation: "the agent was stopped before publishing")
        }
        // Before the first file moves: from here on the workspace may hold this commit, or parts of it, and the decision
        // about another one must know, also after a failure or a crash.
        try await progress.write([.publish(deployment: progress.id)])
        progress.isPublished = true
        let publish = {
            if let releases {
                let before = releases.live()
                do {
                    return try await self.publish(releases, source, stagedOutput: stagedOutput)
                } catch var error as GitError {
                    // Until the link has moved, the commit is nowhere but in a release that nobody reads.
                    error.leavesWorkspace = releases.live() == before
                    throw error
                }
            }
            return try await workspace.publish(
                plan.commit.id, from: source.store, stagedOutput: stagedOutput, origin: source.remoteURL,
                submodules: source.submodules, source.git)
        }
        let discarded: Workspace.Discarded
        do {
            do {
                discarded = try await publish()
            } catch let error as GitError where error.code == .publish {
                // What PRE_DEPLOY wrote lies with the store: then the next attempt starts from the beginning, on a sound one.
                guard try await source.repair(), !stagedOutput else { throw error }
                discarded = try await publish()
            }
        } catch let error as GitError {
            throw unpublished(error, &progress)
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

    /// Waits for commands that run in the workspace beside this deployment. As a link none has to: each keeps its release.
    private func turn(_ progress: inout DeploymentProgress) async -> WorkspaceGate.Turn? {
        guard releases == nil else { return nil }
        let limit = DurationText.text(plan.settings.publish.wait)
        do throws(HostTrouble) {
            let turn = try await WorkspaceGate(runner.folder).publish(
                atMost: plan.settings.publish.wait, stop: runner.stop
            ) { logger.info("waiting for a command that runs in the workspace, at most \(limit)") }
            if !turn.isAlone, !runner.stop.isRequested {
                progress.warnings += 1
                logger.warning(
                    "a command still runs in the workspace after \(limit) (\(Setting.publishWait.name)): its files are moved all the same"
                )
            }
            return turn
        } catch {
            // Nor does a command begin then.
            logger.warning("commands that run in the workspace are not waited for: \(error)")
            return nil
        }
    }

    /// - Returns: the failure; where nothing of the commit is in the workspace, the record is told so.
    private func unpublished(_ failure: GitError, _ progress: inout DeploymentProgress) -> GitError {
        if failure.leavesWorkspace {
            progress.isPublished = false
            progress.pending.append(.unpublish(deployment: progress.id))
        }
        return failure
    }

    private mutating func stage(_ source: DeploymentPlan.Source) async throws {
        guard let releases else {
            let refusal = try await source.store.stage(
                plan.commit.id, for: workspace, submodules: source.submodules, source.git)
            if let refusal {
                plan.warnings.append(
                    "PRE_DEPLOY finds files as they are in the commit: git could not write them by the workspace's own filters there (\(refusal))"
                )
            }
            return
        }
        release = try await releases.make(plan.commit.id, submodules: source.submodules, source.git)
    }

    private func publish(
        _ releases: Releases, _ source: DeploymentPlan.Source, stagedOutput: Bool
    ) async throws -> Workspace.Discarded {
        // What a PRE_DEPLOY that failed left in its release is not published.
        var release = stagedOutput ? self.release : nil
        // Back to a commit whose release is there: as it was.
        let isBack = plan.trigger == .rollback && !isStaged
        if isBack, let kept = await releases.kept(plan.commit.id, source.git) {
            try releases.publish(kept)
            return Workspace.Discarded()
        }
        let isAsMade = release == nil
        if isAsMade {
            release = try await releases.make(plan.commit.id, submodules: source.submodules, source.git)
        }
        guard let release else { return Workspace.Discarded() }
        if try await leavesNothing(in: release, isAsMade: isAsMade, source.git) { try release.markAsCommitted() }
        try await releases.complete(release, isAsMade: isAsMade, source.git)
        source.store.hide()
        runner.state.letThrough(to: plan.scope.workspace, releases: source.store.releases)
        let adopted = ForeignLink(at: plan.scope.workspace)
        try releases.publish(release)
        if let adopted { logger.notice("\(adopted): the agent's own is in its place, and what it pointed to stays") }
        return Workspace.Discarded()
    }

    /// Whether PRE_DEPLOY makes nothing that a release needs; asked where it has a filter, and may be skipped for that.
    private func leavesNothing(in release: Release, isAsMade: Bool, _ git: GitProgram) async throws -> Bool {
        if plan.changed.skipped[.preDeploy] != nil { return true }
        guard !isAsMade, pre?.paths.isEmpty == false else { return false }
        return try await release.hasOnlyCommitted(git)
    }

    private func discardStage() {
        guard let source = plan.source else { return }
        // One that was published stays.
        if let releases, let release { try? releases.discard(release) } else { try? source.store.discardStage() }
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
                status: .deferred, settled: plan.isTriedOnce,
                retryAt: plan.isTriedOnce ? nil : now.advanced(by: plan.settings.interval * 0.85),
                warnings: warnings,
                completedAt: now, errorMessage: message)
        case .interrupted(let message):
            return DeploymentResult(
                status: .interrupted, settled: false, warnings: warnings, completedAt: now, errorMessage: message)
        }
    }

    /// The deployment whose retries do not run once this rollback holds its commit.
    private func failureOfHeld() async -> [Int64] {
        guard plan.trigger == .rollback, let held = plan.held,
            let failed = try? await ledger.facts(plan.scope, commit: held).latestOfCommit,
            failed.status == .failed, !failed.settled
        else { return [] }
        return [failed.id]
    }

    /// - Parameter isFollowed: by a rollback, so that no further attempt comes.
    private func announce(
        _ result: DeploymentResult, _ short: Substring, isPublished: Bool, isFollowed: Bool
    ) {
        switch result.status {
        case .succeeded:
            logger.info(
                "deployed \(short)\(result.warnings > 0 ? " with \(result.warnings) warning\(result.warnings == 1 ? "" : "s")" : "")"
            )
        case .deferred:
            logger.notice(
                "deployment of \(short) deferred; \(result.settled ? "a rollback is not tried again" : "tried again at the next check")"
            )
        case .interrupted:
            // A rollback may have been asked for by a command that ends, too, and takes it back.
            let isDue = !plan.isTriedOnce || isPublished
            logger.notice("deployment of \(short) interrupted\(isDue ? "; it is due again" : "")")
        default:
            let next =
                if plan.isTriedOnce, result.settled || !isPublished {
                    "a rollback is not tried again"
                } else if result.settled, plan.trigger == .rollback {
                    "its retries are used up: no further attempt until a new commit or `agent retry \(short)`"
                } else if result.settled {
                    "its retries are used up: no further attempt until a new commit or `agent retry`"
                } else if isFollowed {
                    "what was deployed before is published again"
                } else {
                    "next attempt \(result.retryAt.map { "at \($0.rfc3339)" } ?? "at the next check")"
                }
            logger.error("deployment of \(short) failed: \(result.errorMessage ?? ""); \(next)")
        }
    }

    /// Housekeeping after a deployment: what fails here is no failure of the deployment.
    private func tidy(_ deployment: Deployment) async {
        do {
            // What is held, and what it was gone back to, belong together.
            let keep = max(plan.settings.keep, plan.held == nil ? 1 : 2)
            let runs = try await ledger.prune(plan.scope, keep: keep, limit: 1000)
            for run in runs { unlink(runner.state.log(run: run)) }
        } catch {
            logger.warning("old deployments could not be deleted: \(error)")
        }
        guard let source = plan.source, !runner.stop.isRequested else { return }
        do {
            // Otherwise what is live, and what leads back from it, is as it was.
            if !deployment.cameToNothing {
                try await KeptReleases(
                    scope: plan.scope, publish: plan.settings.publish, store: source.store, git: source.git,
                    ledger: ledger
                ).tidy(live: plan.commit.id, held: plan.held)
            }
        } catch {
            logger.warning("old releases could not be tidied up: \(error)")
        }
        do {
            try await source.store.tidy(source.git)
            if releases == nil, !deployment.cameToNothing {
                try await workspace.tidy(submodules: source.submodules, sharing: source.store, source.git)
            }
        } catch {
            logger.warning("what no release needs any more could not be removed: \(error)")
        }
        // A way back runs only some of the hooks that are set, and after a failure those of the commit before still count.
        if deployment.status == .succeeded, plan.trigger != .rollback {
            do {
                try HookCheckout.tidy(plan.settings.hooks, runner.folder)
            } catch {
                logger.warning("checkouts of hooks could not be tidied up: \(error)")
            }
        }
    }
}

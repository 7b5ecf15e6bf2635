import Execution
import Git
import Glibc
public import Ledger
import Log
import Logging
public import Settings
import Shell

/// Looks at the commit of one workspace and deploys it when the record says that it is due.
///
/// Lives as long as the workspace's lock is held. Calls must not overlap.
public final class Watcher {
    let origin: SettingsOrigin
    let log: LogOutput
    let logger: Logger
    let inForce: InForce
    /// The record that the last check used.
    var ledger: any LedgerStore { inForce.ledger }
    private var opened: (ledger: LedgerAddress, tasksTable: String?)
    private let openLedger: @Sendable (Settings) throws -> any LedgerStore
    private let state: StateDirectory
    let folder: WorkspaceFolder
    let workspace: Workspace
    private let spool: Spool
    private let instance: String
    let stop: StopSignal
    /// The branch or tag that the last check followed.
    private(set) var followedRef: String?
    var watched: WatchedSettings
    let followed: FollowedRemote
    /// Whether hooks run whatever has changed, until a deployment succeeds: what an earlier one made may not be here.
    private var isAnew = false
    /// Whether a deployment has put something into the workspace that no check has seen there since.
    private var isUnseen = false
    /// Whether a check has got through since the start.
    private var isStarted = false
    private var isRecovered = false
    private var toRecoverFrom = Recovery.Reason.killed
    /// What the killed agent before this one said of itself.
    private let abandoned: LockRecord?
    /// What runs for a commit beside its hooks.
    private(set) var tasks: any AfterPublishWork
    /// What is said once as long as the agent lives.
    private var told: Set<String> = []
    var graces = GraceWatch()
    /// The rollback that followed the last check's failed deployment by itself.
    var wentBack: Deployment?
    private var sign = HostSign()
    /// What a start does where AGENT_ON_START is not set.
    private let onStart: OnStart
    /// What happens between publishing and POST_DEPLOY.
    private let beforePost: BeforePost?
    /// Asks for checks at once.
    private let bell: TriggerBell?
    /// What rang while the check was under way and names its deployment.
    private var answered: Trigger?

    init(
        origin: SettingsOrigin, base: Settings, log: LogOutput, inForce: InForce, state: StateDirectory,
        instance: String, stop: StopSignal, abandoned: LockRecord?, onStart: OnStart, beforePost: BeforePost?,
        bell: TriggerBell?, tasks: any AfterPublishWork,
        openLedger: @escaping @Sendable (Settings) throws -> any LedgerStore
    ) {
        self.origin = origin
        self.log = log
        logger = log.logger()
        self.inForce = inForce
        self.openLedger = openLedger
        opened = (base.ledger, base.tasksTable)
        self.state = state
        self.stop = stop
        self.abandoned = abandoned
        self.onStart = onStart
        self.beforePost = beforePost
        self.bell = bell
        self.tasks = tasks
        folder = state.workspace(base.workspace)
        spool = Spool(folder: folder.path + "/spool", logger: logger)
        self.instance = instance
        followed = FollowedRemote(folder: folder, environment: origin.environment, stop: stop, log: log)
        workspace = base.place
        watched = WatchedSettings(
            base, origin: origin, workspace: workspace, state: state, folder: folder, log: log, stop: stop)
    }

    /// Time between checks as the settings in force have it.
    public var interval: Duration { watched.newest.interval }

    /// The settings that the last check used.
    var settingsInForce: Settings { watched.newest }

    /// The settings of the commit that the workspace holds.
    var settingsOfCheckout: Settings { watched.ofCheckout }

    /// The commit that the workspace holds; nil when it holds none.
    func checkedOut() async -> String? {
        (try? await workspace.state())?.head
    }

    /// Makes one check.
    ///
    /// - Parameters:
    ///   - isForced: deploy although the commit is settled.
    ///   - isOffline: take the commit that the workspace holds and do not ask the remote.
    ///   - deploying: is called before a deployment, with the commit's settings.
    ///   - waiting: is called before what takes longer than the hooks, with how long that may be, and from time to time while
    ///     another host runs a hook for this one.
    public func check(
        _ trigger: Trigger, isForced: Bool = false, isOffline: Bool = false,
        deploying: (Settings) -> Void = { _ in }, waiting: @escaping @Sendable (Duration) -> Void = { _ in }
    ) async -> CheckOutcome {
        tasks.begin()
        wentBack = nil
        answered = nil
        // Who forces a commit wants no way back from it.
        if isForced { RollbackRequest.removeWayBack(folder) }
        let outcome: CheckOutcome
        let request = RollbackRequest.read(folder)
        if let request {
            outcome = await carryOut(request, isPoll: trigger == .poll, deploying, waiting) { pending in
                try await decide(
                    trigger, isForced: isForced, isOffline: isOffline, pending: pending, deploying, waiting)
            }
        } else {
            outcome = await look {
                try await decide(trigger, isForced: isForced, isOffline: isOffline, deploying, waiting)
            }
        }
        switch outcome {
        case .deployment(let made) where made.cameToNothing && request?.isAsked == true: break
        case .deployment, .unchanged: isStarted = true
        default: break
        }
        // Nothing came of it: whoever rang is owed a check.
        if case .deployment = outcome {} else if let answered { bell?.giveBack(answered) }
        await removeOverdueReleases(after: outcome)
        await sign.show(ownPresence, outcome, ledger, log)
        return outcome
    }

    /// A poll's deployment takes the trigger of whoever rang while the poll was looking.
    private func asked(_ trigger: Trigger) -> Trigger {
        // A rollback rings, too, and means something else.
        guard trigger == .poll, RollbackRequest.read(folder) == nil, let rung = bell?.take() ?? answered else {
            return trigger
        }
        answered = rung
        return rung
    }

    func look(_ decide: () async throws -> CheckOutcome) async -> CheckOutcome {
        reapOrphans()
        do {
            do {
                return try await decide()
            } catch let error as GitError {
                guard try await followed.removeDamagedStore(after: error, watched.ofCheckout) else { throw error }
                watched.forget()
                return try await decide()
            }
        } catch let error as GitError where error.code == .corrupt && watched.ofCheckout.remote == nil {
            return .misconfigured(damaged(error.explanation))
        } catch {
            return CheckOutcome(of: error, mask: log.secrets.mask, retryAt: followed.retryAt)
        }
    }

    private func decide(
        _ asking: Trigger, isForced: Bool, isOffline: Bool, pending: PendingRollback? = nil,
        _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws -> CheckOutcome {
        // What a start does it does once what it needs is there.
        let trigger = asking == .poll && !isStarted ? .startup : asking
        try await recoverOnce(watched.ofCheckout)
        let place = try await readPlace()
        try SettingsError.expectOwn(workspace, place, watched.ofCheckout)
        if place.head != nil { isUnseen = false }
        try await watched.refresh(place)
        let target = try await findTarget(place, asking, isOffline: isOffline)
        followedRef = target.ref
        if let pending, pending.held == target.commit { return pending.outcome }
        let refused = try await watched.refusal(of: target.commit, in: target.repository, target.source?.git)
        // What a commit says that nobody has signed does not count either.
        let settings = refused == nil ? try await watched.of(target.commit, in: target.repository) : watched.ofCheckout
        try checkPlace(settings, target)
        try await useLedger(of: settings)
        let scope = Scope(app: settings.app, host: settings.host, workspace: workspace.path)
        var facts = try await ledger.facts(scope, commit: target.commit)
        let isBootstrap = trigger == .startup && (settings.entrypoint.onStart ?? onStart) == .always
        if target.source != nil, let latest = facts.latest, let held = latest.held, held != target.commit {
            // The ref has moved on.
            try await ledger.releaseHold(latest.id)
            facts.latest?.held = nil
        }
        let situation = Decision.Situation(
            commit: target.commit, trigger: trigger, isForced: isForced || isBootstrap,
            isBootstrap: isBootstrap && !isForced,
            // Not at the poll after a deployment: a hook that removes the workspace would be run without end.
            isWorkspaceMissing: target.source != nil && place.head == nil && (trigger != .poll || !isUnseen),
            now: .now)
        switch Decision.decide(facts, situation) {
        case .nothing(.deployed):
            if refused == nil, tasks.isDue(trigger), try await hasPassed(facts.latestOfCommit) {
                try await lookAtTasks(target, settings, scope, facts, trigger, deploying, waiting)
            }
            return .unchanged(commit: target.commit, .deployed)
        case .nothing(.settledAsFailed): return .unchanged(commit: target.commit, .settledAsFailed)
        case .nothing(.backoff(let until)): return .unchanged(commit: target.commit, .backoff(until: until))
        case .nothing(.deferred): return .unchanged(commit: target.commit, .deferred)
        case .nothing(.held):
            guard let back = facts.latest else { return .unchanged(commit: target.commit, .held(.stands)) }
            return try await stayBack(back, situation, scope, isPoll: asking == .poll, deploying, waiting)
        case .deploy(let attempt, let series):
            if let refused {
                return .deployment(
                    try await record(
                        refused, target, settings, scope, facts, asked(trigger), attempt: attempt, series: series))
            }
            isAnew = isAnew || situation.isForced || situation.isWorkspaceMissing
            var deployment = try await deploy(
                target, settings, scope, facts, trigger, attempt: attempt, series: series, isForced: isForced,
                isPoll: asking == .poll, deploying, waiting)
            if deployment.status == .succeeded { isAnew = false }
            if deployment.status == .failed, settings.publish.rollsBack {
                await goBack(isPoll: asking == .poll, deploying, waiting)
                // As the record has it by now.
                if let wentBack, wentBack.published, wentBack.held == deployment.commit {
                    deployment.result?.settled = true
                    deployment.result?.retryAt = nil
                }
            }
            return .deployment(deployment)
        }
    }

    /// Records a commit that must not be used.
    func record(
        _ refused: GitError, _ target: Target, _ settings: Settings, _ scope: Scope, _ facts: LedgerFacts,
        _ trigger: Trigger, attempt: Int, series: Int64?, withPre: Bool = false
    ) async throws -> Deployment {
        try await RefusedCommit(
            commit: target.commit, ref: target.ref, reason: refused, notifies: settings.notifications != nil
        ).record(
            scope, previous: facts.lastSucceededCommit, trigger, attempt: attempt, series: series, withPre: withPre,
            target.repository,
            LedgerWriter(ledger: ledger, spool: spool, logger: logger, stop: stop), log)
    }

    func deploy(
        _ target: Target, _ settings: Settings, _ scope: Scope, _ facts: LedgerFacts, _ trigger: Trigger,
        attempt: Int = 1, series: Int64? = nil, isForced: Bool = false, isPoll: Bool, back: RollbackRequest? = nil,
        _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws -> Deployment {
        // What a hook lacks is no reason not to go back: its run fails.
        if let source = target.source, settings.publish.mode == .inPlace {
            try await expectReadable(source.git)
        }
        if back == nil {
            try await HookFolders(
                settings: settings, commit: target.commit, repository: target.repository,
                watched: target.source == nil ? workspace.path : nil
            ).check()
        }
        var settings = settings
        let leavesOutPre = back?.withPre == false && settings.hook(.preDeploy) != nil
        if leavesOutPre { settings.hooks.removeAll { $0.hook == .preDeploy } }
        deploying(settings)
        var source = target.source
        var warnings: [String] = []
        if let fetched = source {
            (source, warnings) = try await complete(
                fetched, target.commit, settings, isPoll: isPoll, isBack: back != nil)
        } else if watched.ofCheckout.remote == nil {
            warnings = await workspace.warnings(of: target.commit)
        }
        if leavesOutPre, settings.publish.mode == .symlink, let source,
            await Releases(of: source.store, workspace: workspace.path).kept(target.commit, source.git) == nil
        {
            warnings.append(
                "its release is not there as it was: it is published as committed, without what PRE_DEPLOY made of it (--with-pre makes that anew)"
            )
        }
        let changed = try await changes(target, settings, facts, series: series, runsAll: isAnew || back != nil)
        let file = try await readTasks(target, settings)
        for warning in settings.warnings(withTasks: file.areThere) { logger.warning("\(warning)") }
        for remark in settings.remarks where told.insert(remark).inserted { logger.warning("\(remark)") }
        let plan = DeploymentPlan(
            scope: scope, commit: try await target.repository.commit(target.commit), ref: target.ref,
            trigger: asked(trigger), attempt: attempt, series: series, previousCommit: facts.lastSucceededCommit,
            settings: settings, isForced: isForced, instance: instance,
            isTriedOnce: back?.isAsked ?? false, withPre: back?.withPre ?? false,
            // What was gone back to may be deployed again without letting go.
            held: back?.held ?? (facts.latest?.commit == target.commit ? facts.latest?.held : nil), tasks: file,
            changed: changed, warnings: warnings, source: source)
        var driver = DeploymentDriver(
            plan: plan, ledger: ledger, runner: runner, logger: logger, afterPublish: tasks, beforePost: beforePost,
            spool: spool,
            waiting: waiting, remoteGit: followed.git,
            wayBack: WayBackNote(
                isWanted: settings.publish.rollsBack, ledger: ledger, folder: folder, log: log, logger: logger))
        do {
            let deployment = try await HostSign.kept(ownPresence, target.commit, ledger) { try await driver.deploy() }
            isUnseen = deployment.published
            tasks.deployed(deployment, retryAt: driver.tasksRetryAt)
            return deployment
        } catch let error as LedgerError {
            // Its end is not in the record: the next check brings that in order as after a crash.
            isRecovered = false
            toRecoverFrom = .unrecorded
            throw error
        }
    }

    /// Gets what the commit needs besides its own objects.
    private func complete(
        _ source: DeploymentPlan.Source, _ commit: String, _ settings: Settings, isPoll: Bool, isBack: Bool
    ) async throws -> (source: DeploymentPlan.Source, warnings: [String]) {
        guard let remote = watched.ofCheckout.remote else { return (source, []) }
        do {
            return try await followed.complete(
                source, commit, settings.git.content, of: remote, watched.ofCheckout, isPoll: isPoll)
        } catch let error as GitError {
            // A release that is there needs nothing of it.
            guard isBack, settings.publish.mode == .symlink,
                await Releases(of: source.store, workspace: workspace.path).kept(commit, source.git) != nil
            else { throw error }
            return (source, [])
        }
    }

    /// What has changed since the last successful deployment.
    private func changes(
        _ target: Target, _ settings: Settings, _ facts: LedgerFacts, series: Int64?, runsAll: Bool
    ) async throws -> ChangedSince {
        let ledger = ledger
        return try await PathFilter(
            settings: settings, commit: target.commit, base: facts.lastSucceededCommit, repository: target.repository,
            logger: logger
        ).read {
            guard let source = target.source, let remote = watched.ofCheckout.remote,
                let base = facts.lastSucceededCommit
            else { return false }
            return await source.store.fetchToCompare(base, from: remote.remote, source.git)
        } standing: { hook in
            if runsAll { return .isAsked }
            // Each release is made anew, and needs what PRE_DEPLOY makes.
            if hook.hook == .preDeploy, settings.publish.mode == .symlink,
                Releases(of: followed.store, workspace: workspace.path).live()?.isAsCommitted != true
            {
                logger.info("PRE_DEPLOY runs whatever has changed: the release before has, or may have, what it makes")
                return .isAsked
            }
            let scope = Scope(app: settings.app, host: settings.host, workspace: workspace.path)
            return try await PathFilter.Standing(of: hook, series: series, scope, in: ledger)
        }
    }

    /// A folder of somebody's at a link's place is found before anything is recorded or run.
    func checkPlace(_ settings: Settings, _ target: Target) throws {
        guard target.source != nil, let obstacle = settings.obstacleToPublishing(at: workspace, followed.store) else {
            return
        }
        throw obstacle
    }

    private var runner: Runner {
        Runner(state: state, folder: folder, log: log, environment: origin.environment, stop: stop)
    }

    // MARK: - Steps

    /// Whether a deployment's PRE_DEPLOY succeeded, or there was none: lenient, it may have failed.
    private func hasPassed(_ deployment: Deployment?) async throws -> Bool {
        guard let deployment, deployment.warnings > 0 else { return true }
        let runs = try await ledger.runs(deployment: deployment.id)
        return runs.allSatisfy {
            $0.kind != .hook || $0.name != Hook.preDeploy.rawValue || [.succeeded, .skipped].contains($0.status)
        }
    }

    private func readTasks(_ target: Target, _ settings: Settings) async throws -> Result<DeployFile?, SettingsError> {
        let file = try await tasks.read(
            origin, settings, target.commit, in: target.repository, workspace: workspace.path)
        guard case .success(let found?) = file, let note = found.note else { return file }
        if told.insert(note).inserted { logger.notice("\(note)") }
        return .success(nil)
    }

    private func lookAtTasks(
        _ target: Target, _ settings: Settings, _ scope: Scope, _ facts: LedgerFacts, _ trigger: Trigger,
        _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws {
        let occasion = WorkOccasion(
            scope: scope, commit: target.commit, ref: target.ref, previousCommit: facts.lastSucceededCommit,
            trigger: trigger, deployment: facts.latestOfCommit?.id, settings: settings, instance: instance)
        var step = tasks.step(
            occasion,
            WorkTools(
                ledger: ledger, runner: runner,
                writer: LedgerWriter(ledger: ledger, spool: spool, logger: logger, stop: stop), logger: logger,
                waiting: waiting))
        let file = try await readTasks(target, settings)
        await tasks.look(&step, file)
        guard step.isDue else { return }
        deploying(settings)
        await HostSign.kept(ownPresence, target.commit, ledger) {
            await tasks.run(&step, appIsToCome: trigger == .startup && beforePost != nil)
        }
        do {
            let old = try await tasks.prune(deployment: occasion.deployment, scope, keep: settings.keep, ledger)
            for run in old { unlink(state.log(run: run)) }
        } catch {
            // The tasks have run, whatever becomes of this.
            logger.warning("old runs of tasks could not be deleted: \(error)")
        }
    }

    var ownPresence: Presence {
        let settings = settingsInForce
        var scope = settings.scope
        scope.workspace = workspace.path
        return Presence(
            scope: scope, instance: instance, version: AgentVersion.current, ref: followedRef, target: nil, outcome: "",
            problem: nil, interval: settings.interval)
    }

    /// Says that the agent ends in order.
    func showStopping() async { await sign.showStopping(ownPresence, ledger, log) }

    /// Opens the record anew whose file was removed or replaced, as at a start: what is there now counts.
    private func reopenReplaced() throws {
        guard !ledger.isInPlace else { return }
        logger.warning(
            "\(inForce.settings.ledger.description) was removed or replaced while it was open: what is there now is the record, or a new one"
        )
        let settings = inForce.settings
        // First: what lies in a journal that alone was removed is then in the file.
        ledger.close()
        try state.require(for: workspace.path)
        inForce.set(settings, try openLedger(settings))
        isRecovered = false
        toRecoverFrom = .killed
    }

    func recoverOnce(_ settings: Settings) async throws {
        try reopenReplaced()
        // Before anything is looked up: what the record has not heard of yet has happened.
        try await spool.deliver(to: ledger)
        guard !isRecovered else { return }
        let hosts = [settings.host, abandoned?.host].compactMap { $0 }
        try await Recovery(ledger: ledger, state: state, folder: folder, logger: logger, hosts: hosts).run(
            workspace: workspace.path, grace: settings.killGrace, abandoned: abandoned != nil, after: toRecoverFrom)
        forgetConfigured()
        isRecovered = true
    }

    /// Removes what hooks have configured with git for their own run, where that was broken off: a token, perhaps.
    private func forgetConfigured() {
        do {
            try followed.store.discardStage()
            try Releases(of: followed.store, workspace: workspace.path).discardUnfinished()
        } catch {
            logger.warning("what an earlier deployment had staged could not be removed: \(error)")
        }
        for hook in Hook.allCases { HookCheckout.restore(hook, folder) }
    }

    /// The spec of a commit may name another record than the one that was opened before any commit was there.
    func useLedger(of settings: Settings) async throws {
        guard opened != (settings.ledger, settings.tasksTable) else { return inForce.set(settings, ledger) }
        inForce.set(settings, try openLedger(settings))
        opened = (settings.ledger, settings.tasksTable)
        isRecovered = false
        toRecoverFrom = .killed
        try await recoverOnce(settings)
    }

    private func findTarget(_ place: Workspace.State, _ trigger: Trigger, isOffline: Bool) async throws -> Target {
        guard let remote = watched.ofCheckout.remote, !isOffline else {
            guard case .checkout(let head) = place else { throw SettingsError.nothingToDeploy(workspace) }
            guard let head else {
                throw GitError(
                    .noCommit, operation: "read HEAD of \(workspace.path)",
                    explanation: "the repository has no commit yet; commit something")
            }
            return Target(head, in: workspace.repository)
        }
        let (tip, source) = try await followed.tip(of: remote, watched.ofCheckout, trigger)
        return Target(tip.commit, ref: tip.name, source)
    }
}

extension Workspace.State {
    /// The commit checked out; nil when there is none.
    var head: String? {
        if case .checkout(let head) = self { head } else { nil }
    }
}

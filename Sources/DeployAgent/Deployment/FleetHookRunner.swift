import Git
import Ledger
import Logging
import Shell

/// One hook that runs once for all hosts: claims it, and runs it or takes over what came of it elsewhere.
struct FleetHookRunner: Sendable {
    /// What it came to here.
    enum Outcome: Sendable {
        /// It ran on this host.
        /// - failures: how often it failed for this commit, over all hosts.
        case ran(Run, RunResult, failures: Int)
        /// It ran on another host.
        /// - retryIn: when a failure is tried again.
        case adopted(Int64, RunResult, failures: Int, retryIn: Duration?)
        /// It ran on this host under a lease that was lost, and what came of it is not recorded.
        case lost(Run, String)
        /// The agent was asked to stop before there was a result.
        case stopped
    }

    let store: any FleetStore
    let hook: HookSettings
    let plan: DeploymentPlan
    let runner: HookRunner
    let writer: LedgerWriter
    let logger: Logger

    /// - Parameters:
    ///   - draft: the run as it begins when it is this host's.
    ///   - context: what the hook is told; fence and run are filled in.
    ///   - waiting: is called from time to time while another host has it.
    /// - Throws: `LedgerError` when the record cannot be reached.
    func run(
        _ draft: RunDraft, in root: String, _ context: HookContext, waiting: @Sendable () -> Void
    ) async throws -> Outcome {
        var request = ClaimRequest(
            scope: plan.scope, commit: plan.commit.id, holder: plan.instance, run: draft, retries: hook.retries.limit,
            isLenient: hook.mode == .lenient,
            // What failed elsewhere is no reason for this host's first attempt to run it again at once.
            ignoresBackoff: !plan.trigger.respectsBackoff && plan.attempt > 1, isForced: plan.isForced)
        let changes = store.leaseChanges(app: plan.scope.app)
        var said: HeldBy?
        while !runner.stop.isRequested {
            let (store, asking) = (store, request)
            // A host that waits is to go on soon after the record is back.
            let (asked, answer) = try await writer.ask(atMost: .seconds(1)) {
                var asking = asking
                asking.run.startedAt = .now
                let asked = BootTime.now
                return (asked, try await store.claim(asking))
            }
            switch answer {
            case .granted(let lease, let run, let failures):
                logger.info(
                    "\(run.name): \(run.command) (run \(run.id), in \(hook.folder), at most \(DurationText.text(hook.timeout)), for the fleet, fence \(lease.fence))"
                )
                return try await carryOut(run, under: lease, asked: asked, in: root, context, failures: failures)
            case .done(let run, let host, let result, let failures, let retryIn):
                logger.info(
                    "\(draft.name) \(result.status.rawValue.replacing("_", with: " ")) on \(host ?? "another host") (run \(run)): taken over"
                )
                return .adopted(run, result, failures: failures, retryIn: retryIn)
            case .held(let held):
                waiting()
                if held.run != said?.run {
                    logger.info(
                        "waiting: \(held.host) runs \(draft.name) for \(held.commit.prefix(7)) (run \(held.run))")
                    said = held
                }
                // The same hook of another commit is no result for this one.
                if held.commit == plan.commit.id { request.awaited = held.run }
                // Whatever an earlier claim of this one may have begun is over.
                request.run.marker = HookRunner.newMarker()
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await changes.next(after: held) }
                    group.addTask { await runner.stop.requested() }
                    await group.next()
                    group.cancelAll()
                }
            }
        }
        return .stopped
    }

    private func carryOut(
        _ run: Run, under lease: Lease, asked: BootTime, in root: String, _ context: HookContext, failures: Int
    ) async throws -> Outcome {
        var context = context
        context.run = run.id
        context.fence = lease.fence
        let stop = StopSignal()
        var result: RunResult
        var loss: LeaseKeeper.Loss?
        do {
            let keeper = try LeaseKeeper(
                lease, in: store, asked: asked, markFile: runner.folder.mark(run.marker),
                killGrace: plan.settings.killGrace, stop: stop, logger: logger)
            (result, loss) = await withTaskGroup(of: Void.self) { group in
                group.addTask { await keeper.keep() }
                group.addTask {
                    await runner.stop.requested()
                    if runner.stop.isRequested { stop.request() }
                }
                // A claim whose answer came too late is none: the guard is not there for it any more.
                var result = RunResult(status: .interrupted, completedAt: .now)
                if keeper.loss == nil {
                    result = await runner.run(
                        hook, as: run, in: root, context, plan.settings, stop: stop,
                        mayStart: { keeper.loss == nil })
                }
                keeper.release()
                group.cancelAll()
                return (result, keeper.loss)
            }
        } catch {
            result = RunResult(status: .failed, completedAt: .now, errorMessage: "it was not run: \(error)")
        }
        if loss != nil {
            // Before anybody else may begin: a command that ends well on SIGTERM may have left others that take their time.
            _ = await endSurvivors(
                of: runner.folder.processMark(run.marker), grace: min(plan.settings.killGrace, RunGuard.grace))
            result.status = .interrupted
            result.errorMessage = "ended because its lease (fence \(lease.fence)) could not be renewed"
        }
        let failed = result.status == .failed || result.status == .timedOut
        let retryIn: Duration? =
            failed
            ? Backoff.delay(afterFailures: failures + 1, interval: plan.settings.interval)
            : result.status == .deferred ? plan.settings.interval * 0.85 : nil
        let counted = try await writer.complete(
            ClaimResult(lease: lease, commit: plan.commit.id, run: run.id, result: result, retryIn: retryIn), in: store)
        guard let counted else {
            let message = "the lease of \(run.name) (fence \(lease.fence)) has passed to another host"
            logger.error("\(message): what came of run \(run.id) here is not recorded")
            return .lost(run, message)
        }
        return .ran(run, result, failures: counted)
    }
}

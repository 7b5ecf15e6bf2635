import Git
import Ledger
import Logging
import Shell

/// A piece of work that is done once: claims it, and runs it or takes over what came of it elsewhere.
struct LeasedRunner: Sendable {
    /// What it came to here.
    enum Outcome: Sendable {
        /// It ran on this host.
        /// - failures: how often it failed, over all hosts.
        case ran(Run, RunResult, failures: Int)
        /// It ran elsewhere; which run that was is nil where the record does not have it.
        /// - retryIn: when a failure is tried again.
        /// - wasAwaited: whether it ran while this one waited.
        case adopted(Int64?, RunEnd, failures: Int, retryIn: Duration?, wasAwaited: Bool)
        /// It ran on this host under a lease that was lost, and what came of it is not recorded.
        case lost(Run, String)
        /// Somebody has it, for longer than this one waits.
        case held(HeldBy)
        /// The agent was asked to stop before there was a result.
        case stopped
    }

    let store: any LeaseStore
    let command: RunCommand
    let settings: Settings
    let runner: Runner
    let writer: LedgerWriter
    let logger: Logger

    /// - Parameters:
    ///   - request: with the run as it begins when it is this host's.
    ///   - context: what the run is told; number, fence and attempt are filled in.
    ///   - patience: how long to wait for somebody who has it; nil for as long as it takes.
    ///   - waiting: is called from time to time meanwhile.
    /// - Throws: `LedgerError` when the record cannot be reached.
    func run(
        _ request: ClaimRequest, in root: String, _ context: RunContext, patience: Duration? = nil,
        waiting: @Sendable () -> Void
    ) async throws -> Outcome {
        var request = request
        let changes = store.leaseChanges(app: request.owner)
        let limit = patience.map { ContinuousClock.now + $0 }
        var said: HeldBy?
        while !runner.stop.isRequested {
            var name: WorkName?
            if case .sqlite(let path) = settings.ledger {
                switch WorkName.take(request, file: path) {
                case .mine(let taken): (name, request.isTaken) = (taken, false)
                case .taken: request.isTaken = true
                }
            }
            // Until the run's end is on record.
            defer { withExtendedLifetime(name) {} }
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
                let reach = run.scope == .fleet ? "for the fleet, " : ""
                logger.info(
                    "\(command.title): \(run.command) (run \(run.id), in \(command.folder), at most \(DurationText.text(command.timeout)), \(reach)fence \(lease.fence))"
                )
                return try await carryOut(
                    run, for: request, under: lease, asked: asked, in: root, context, failures: failures)
            case .done(let run, let host, let result, let failures, let retryIn):
                let end = result.status.rawValue.replacing("_", with: " ")
                logger.log(
                    level: request.run.kind == .hook ? .info : .debug,
                    "\(command.title) \(end) on \(host ?? "another host")\(run.map { " (run \($0))" } ?? ""): taken over"
                )
                return .adopted(
                    run, result, failures: failures, retryIn: retryIn,
                    wasAwaited: run != nil && run == request.awaited)
            case .held(let held):
                waiting()
                let left = limit.map { $0 - .now }
                if let left, left <= .zero { return .held(held) }
                if said == nil || held.run != said?.run {
                    logger.info(
                        "waiting: \(held.host) runs \(command.title) for \(held.commit.prefix(7)) (\(held.runInWords))")
                    said = held
                }
                // The same hook of another commit is no result for this one.
                if held.commit == request.commit || request.run.kind == .task {
                    request.awaited = held.run
                }
                name = nil
                // Whatever an earlier claim of this one may have begun is over.
                request.run.marker = Runner.newMarker()
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await changes.next(after: held) }
                    group.addTask { await runner.stop.requested() }
                    if let left { group.addTask { try? await Task.sleep(for: left) } }
                    await group.next()
                    group.cancelAll()
                }
            }
        }
        return .stopped
    }

    private func carryOut(
        _ run: Run, for request: ClaimRequest, under lease: Lease, asked: BootTime, in root: String,
        _ context: RunContext, failures: Int
    ) async throws -> Outcome {
        var context = context
        context.run = run.id
        context.attempt = run.attempt
        context.fence = lease.fence
        let stop = StopSignal()
        var result: RunResult
        var loss: LeaseKeeper.Loss?
        do {
            let keeper = try LeaseKeeper(
                lease, in: store, asked: asked, markFile: runner.folder.mark(run.marker),
                killGrace: settings.killGrace, stop: stop, logger: logger)
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
                        command, as: run, in: root, context, settings, stop: stop,
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
                of: runner.folder.processMark(run.marker), grace: min(settings.killGrace, RunGuard.grace))
            result.status = .interrupted
            result.errorMessage = "ended because its lease (fence \(lease.fence)) could not be renewed"
        }
        if run.kind == .task, result.status == .failed, let line = lastLine(of: result.outputTail) {
            result.errorMessage = "\(result.errorMessage ?? "failed"): \(line)"
        }
        let failed = result.status.isFailure
        let isLast = run.kind == .task && request.retries.map { failures + 1 > $0 } ?? false
        let retryIn: Duration? =
            failed
            ? isLast
                ? nil : Backoff.delay(afterFailures: failures + 1, interval: settings.interval)
            : result.status == .deferred ? settings.interval * 0.85 : nil
        let counted = try await writer.complete(
            ClaimResult(
                lease: lease, commit: request.commit, task: run.kind == .task ? run.name : nil, run: run.id,
                result: result,
                retryIn: retryIn), in: store)
        guard let counted else {
            let message = "the lease of \(command.title) (fence \(lease.fence)) has passed to another host"
            logger.error("\(message): what came of run \(run.id) here is not recorded")
            return .lost(run, message)
        }
        return .ran(run, result, failures: counted)
    }

    /// What a program that fails says last is mostly why.
    private func lastLine(of output: String) -> String? {
        let lines = output.split(whereSeparator: \.isNewline)
        return lines.last { !$0.allSatisfy(\.isWhitespace) }.map { String($0.prefix(200)).withoutControls }
    }
}

extension HeldBy {
    /// Which run it is.
    var runInWords: String { run.map { "run \($0)" } ?? "by another process" }
}

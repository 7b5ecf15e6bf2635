import Git
package import Ledger
import Log
package import Logging
import Shell

/// A piece of work that is done once: claims it, and runs it or takes over what came of it elsewhere.
package struct LeasedRunner: Sendable {
    /// What it came to here.
    package enum Outcome: Sendable {
        /// It ran on this host.
        /// - failures: how often it failed, over all hosts.
        case ran(Run, RunResult, failures: Int)
        /// It ran elsewhere; which run that was is nil where the record does not have it.
        /// - retryIn: when a failure is tried again.
        /// - wasAwaited: whether it ran while this one waited.
        case adopted(Int64?, RunEnd, failures: Int, retryIn: Duration?, wasAwaited: Bool)
        /// It ran on this host under a lease that was lost, and what came of it is not recorded.
        case lost(Run, String)
        /// This host could not start it, for the reason given; it counts as no attempt.
        case notHere(Run, String)
        /// Somebody has it, for longer than this one waits.
        case held(HeldBy)
        /// The agent was asked to stop before there was a result.
        case stopped
    }

    package let store: any LeaseStore
    package let command: RunCommand
    package let settings: ExecutionSettings
    package let runner: Runner
    package let writer: LedgerWriter
    package let logger: Logger
    /// Starts what ends a run, found by its mark's file, when it is not prolonged beyond a deadline.
    var makeGuard: @Sendable (_ markFile: String, _ grace: Duration, _ deadline: BootTime) throws -> any RunGuarding = {
        try RunGuard(markFile: $0, grace: $1, deadline: $2)
    }
    var time = LeaseTime.boot

    package init(
        store: any LeaseStore, command: RunCommand, settings: ExecutionSettings, runner: Runner, writer: LedgerWriter,
        logger: Logger
    ) {
        self.store = store
        self.command = command
        self.settings = settings
        self.runner = runner
        self.writer = writer
        self.logger = logger
    }

    /// - Parameters:
    ///   - request: with the run as it begins when it is this host's.
    ///   - context: what the run is told.
    ///   - patience: how long to wait for somebody who has it; nil for as long as it takes.
    ///   - waiting: is called from time to time meanwhile.
    /// - Throws: `LedgerError` when the record cannot be reached.
    package func run(
        _ request: ClaimRequest, in root: String, _ context: RunContext, patience: Duration? = nil,
        waiting: @Sendable () -> Void
    ) async throws -> Outcome {
        var request = request
        let changes = store.leaseChanges(app: request.owner)
        let limit = patience.map { ContinuousClock.now + $0 }
        var said: HeldBy?
        while !runner.stop.isRequested {
            var name: WorkName?
            if let path = settings.recordFile {
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
                let asked = time.now()
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
        let stop = StopSignal()
        let keeper: LeaseKeeper
        do {
            let guardian = try makeGuard(
                runner.folder.mark(run.marker), settings.killGrace, asked.advanced(by: LeaseKeeper.margin))
            keeper = LeaseKeeper(
                lease, in: store, asked: asked, guardian: guardian, stop: stop, logger: logger, time: time)
        } catch {
            return try await giveBack(run, for: request, lease, HostTrouble("it was not run: \(error)"))
        }
        // Also while the result is written, which may take a minute: whoever waits would run a hook again that has succeeded.
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await keeper.keep() }
            group.addTask {
                await runner.stop.requested()
                if runner.stop.isRequested { stop.request() }
            }
            defer { group.cancelAll() }
            let ended: Result<RunResult, HostTrouble>
            do throws(HostTrouble) {
                // A claim whose answer came too late is none: the guard is not there for it any more.
                ended = .success(
                    keeper.loss != nil
                        ? RunResult(status: .interrupted, completedAt: .now)
                        : try await runner.run(
                            command, as: run, in: root, context, settings, stop: stop,
                            mayStart: { keeper.loss == nil }))
            } catch {
                ended = .failure(error)
            }
            let loss = keeper.release()
            switch ended {
            case .success(let result):
                return try await record(result, loss, of: run, for: request, lease, failures: failures)
            case .failure(let trouble):
                return try await giveBack(run, for: request, lease, trouble)
            }
        }
    }

    private func record(
        _ ended: RunResult, _ loss: LeaseKeeper.Loss?, of run: Run, for request: ClaimRequest, _ lease: Lease,
        failures: Int
    ) async throws -> Outcome {
        var result = ended
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
        guard let counted = try await complete(run, result, retryIn: retryIn, request, lease) else {
            let message = "the lease of \(command.title) (fence \(lease.fence)) has passed to another host"
            logger.error("\(message): what came of run \(run.id) here is not recorded")
            return .lost(run, message)
        }
        return .ran(run, result, failures: counted)
    }

    /// Gives up the lease of a run that this host could not start: it counts as no attempt, and another host may run it at once.
    private func giveBack(
        _ run: Run, for request: ClaimRequest, _ lease: Lease, _ trouble: HostTrouble
    ) async throws -> Outcome {
        let result = RunResult(status: .interrupted, completedAt: .now, errorMessage: trouble.description)
        _ = try await complete(run, result, retryIn: nil, request, lease)
        return .notHere(run, trouble.description)
    }

    private func complete(
        _ run: Run, _ result: RunResult, retryIn: Duration?, _ request: ClaimRequest, _ lease: Lease
    ) async throws -> Int? {
        try await writer.complete(
            ClaimResult(
                lease: lease, commit: request.commit, task: run.kind == .task ? run.name : nil, run: run.id,
                result: result, retryIn: retryIn), in: store)
    }

    /// What a program that fails says last is mostly why.
    private func lastLine(of output: String) -> String? {
        let lines = output.split(whereSeparator: \.isNewline)
        return lines.last { !$0.allSatisfy(\.isWhitespace) }.map { String($0.prefix(200)).withoutControls }
    }
}

extension HeldBy {
    /// Which run it is.
    package var runInWords: String { run.map { "run \($0)" } ?? "by another process" }
}

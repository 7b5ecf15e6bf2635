import Execution
import Git
import Glibc
import Ledger
import Log
import Logging
public import ServiceLifecycle
public import Settings
import Shell

/// `agent exec`: the workspace is brought up to date, then the app runs as the agent's child, with hooks around its start
/// and checks while it runs.
///
/// Signals go to the app. When the app ends, the agent ends with its exit code.
public final class Entrypoint: Service {
    private let session: AgentSession
    private let inForce: InForce
    private let notifier: Notifier
    private let words: [String]
    private let probe: HTTPAnswers
    private let vitals: Vitals
    /// Held back by this.
    private let after: Latch?
    private let clock: any Clock<Duration>
    private let bell: TriggerBell
    /// Ends hooks and checks.
    private let stop = StopSignal()
    /// Shortens the app's grace.
    private let hurry = StopSignal()
    private let end = Cell<Int32?>(nil)
    /// As the commit has them that the app was started for, or has heard of last.
    private let settings: Cell<EntrypointSettings>
    private let fatal = Cell<SettingsError?>(nil)
    /// Whether SIGTERM has come.
    private let isTerminating = Cell<Bool>(false)
    /// Whether the start is over, which leaves an app that runs what is deployed.
    private let hasStarted = Cell<Bool>(false)
    /// The app's end that SIGTERM began.
    private let terminating = Cell<Task<Void, Never>?>(nil)

    /// - Parameter words: the app's command; empty takes what settings or workspace name.
    public init(
        session: AgentSession, inForce: InForce, notifier: Notifier, words: [String], probe: @escaping HTTPAnswers,
        vitals: Vitals = Vitals(),
        bell: TriggerBell = TriggerBell(), after: Latch? = nil,
        clock: (any Clock<Duration>)? = nil
    ) {
        self.session = session
        self.inForce = inForce
        self.notifier = notifier
        self.words = words
        self.probe = probe
        self.vitals = vitals
        self.bell = bell
        self.after = after
        self.clock = clock ?? ContinuousClock()
        settings = Cell(session.settings.entrypoint)
    }

    /// What the agent ends with.
    public var exitCode: Int32 { end.get() ?? 0 }
    /// A setting was wrong at the start.
    public var failure: SettingsError? { fatal.get() }

    public func run() async throws {
        // Listened to before anything starts: a signal that comes early must not end the agent with a hook running.
        let signals = listen()
        let supervisor = AppSupervisor(
            words: words, environment: session.origin.environment, logger: session.logger,
            onEnd: { [self] in appEnded($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await signal in signals { await handle(signal, supervisor) }
            }
            // Signals are heard to the very end: the second SIGTERM comes while the app is being ended.
            defer { group.cancelAll() }
            await after?.wait()
            try await live(supervisor)
            await terminating.get()?.value
            await endApp(supervisor)
            await endWholeContainer(grace: settings.get().stopGrace, hurry: hurry)
        }
        session.logger.info("stopped: exit code \(exitCode)")
    }

    // MARK: - The course

    private func live(_ supervisor: AppSupervisor) async throws {
        let limit = settings.get().startTimeout
        guard
            let lock = try await session.acquireLock(
                "exec", within: limit, bell: bell, stop: stop, clock: clock, vitals: vitals)
        else { return finish(stop.isRequested ? 128 + SIGTERM : 75) }
        defer { lock.release() }
        let watcher = session.watcher(
            lock, inForce, stop: stop, onStart: .always,
            beforePost: { [self] plan in
                await bringUp(supervisor, plan.settings, commit: plan.commit.id, ref: plan.ref)
            }, bell: bell)
        var checks = CheckLoop(
            session: session, lock: lock, watcher: watcher, bell: bell, clock: clock, vitals: vitals, notifier: notifier
        )
        await checks.recall()
        guard let first = await start(checks, supervisor) else {
            if !isTerminating.get() {
                // After a strict failure of POST_DEPLOY it runs.
                await endApp(supervisor)
                // While the lock is held. The container that is started anew may have neither this record nor this host's name.
                await notifier.deliverAll()
            }
            return
        }
        hasStarted.set(true)
        var trigger = await checks.rest(after: first)
        while !stop.isRequested {
            let outcome = await checks.check(trigger)
            if stop.isRequested { break }
            trigger = await checks.rest(after: outcome)
        }
        await watcher.showStopping()
    }

    /// Brings the workspace up to date and starts the app.
    ///
    /// - Returns: the last check's outcome; nil when there is no app to go on with, and `exitCode` says why.
    private func start(_ checks: CheckLoop, _ supervisor: AppSupervisor) async -> CheckOutcome? {
        let watcher = checks.watcher
        let folder = session.state.workspace(session.settings.workspace)
        let begin = ContinuousClock.now
        var failures = 0
        while !stop.isRequested {
            var outcome = await checks.check(.startup)
            if case .unreachable(let problem, _, _) = outcome, await watcher.checkedOut() != nil {
                session.logger.warning("\(problem); the checkout that is there is used")
                outcome = await checks.check(.startup, isOffline: true)
            }
            if stop.isRequested { break }
            if let back = watcher.wentBack, back.status == .succeeded, await supervisor.isRunning {
                // The commit failed, and the one before it serves.
                return .deployment(back)
            }
            if case .deployment(let deployment) = outcome, deployment.status == .failed {
                // Somebody has asked for a rollback meanwhile. One that waits for its remote is for the next start.
                if RollbackRequest.read(folder)?.isAsked == true { continue }
                // A strict hook failed: before the app, or POST_DEPLOY, which stops it again.
                finish(1)
                return nil
            }
            // Whatever else is amiss once the app runs, POST_DEPLOY that defers say, is for the next check; but not the commit
            // that failed, where the way back from it waits for its remote.
            if await supervisor.isRunning {
                if RollbackRequest.read(folder)?.followsFailure != true { return outcome }
                let problem = outcome.problem.map { ": \($0)" } ?? ""
                session.logger.error(
                    "the app came up with the commit that failed, and the way back from it waits\(problem)")
                finish(1)
                return nil
            }
            let code: Int32
            switch outcome {
            case .deployment(let deployment):
                // The app has ended already, or PRE_DEPLOY deferred.
                guard deployment.status == .deferred else { return outcome }
                code = 75
            case .unchanged(let commit, .deployed):
                await bringUp(supervisor, watcher.settingsInForce, commit: commit, ref: watcher.followedRef)
                return stop.isRequested ? nil : outcome
            case .unchanged(_, .held(.stands)):
                await bringUp(
                    supervisor, watcher.settingsOfCheckout, commit: await watcher.checkedOut() ?? "",
                    ref: watcher.followedRef)
                return stop.isRequested ? nil : outcome
            case .unchanged(_, .deferred), .unchanged(_, .held(.waits)):
                session.logger.notice("\(outcome.problem ?? "")")
                code = 75
            case .unchanged:
                // The commit failed at an earlier start, and the app is not started for one that failed.
                session.logger.error("\(outcome.problem ?? "")")
                finish(1)
                return nil
            case .misconfigured(let error):
                fatal.set(error)
                finish(78)
                return nil
            case .unreachable(let problem, let kind, _):
                session.logger.warning("\(problem)")
                code = kind == .permanent ? 78 : 69
            case .ledgerFailed(let problem, _):
                session.logger.warning("\(problem)")
                code = 69
            case .failed(let problem):
                session.logger.error("\(problem)")
                code = 1
            case .stopped: return nil
            case .notRolledBack(let reason):
                session.logger.error("the rollback was not made: \(reason.problem ?? reason.name)")
                // Who asked for it reads meanwhile what came of it.
                await pause(.milliseconds(200), stop)
                continue
            }
            failures += 1
            let limit = inForce.settings.entrypoint.startTimeout
            let remaining = limit - (ContinuousClock.now - begin)
            let pause = min(Backoff.delay(afterFailures: failures, interval: .seconds(1)), .seconds(10), remaining)
            guard pause > .zero else {
                session.logger.error(
                    "the app was not started within \(DurationText.text(limit)) (\(Setting.startTimeout.name))")
                finish(code)
                return nil
            }
            session.logger.info("tried again in \(DurationText.text(pause))")
            _ = await bell.wait(atMost: pause, clock: clock)
        }
        return nil
    }

    /// Between publishing and POST_DEPLOY: starts the app, or tells the one that runs of the commit, and waits until it
    /// answers.
    private func bringUp(_ supervisor: AppSupervisor, _ settings: Settings, commit: String, ref: String?) async {
        let entrypoint = settings.entrypoint
        self.settings.set(entrypoint)
        do {
            if await supervisor.isRunning {
                switch entrypoint.onDeploy {
                case .none where hasStarted.get(): break
                case .signal(let number): await supervisor.send(number)
                // At the start the app came up with the commit that failed, and what was gone back to is another one.
                case .none, .restart:
                    session.logger.info("restarting the app for \(commit.prefix(7))")
                    try await supervisor.restart(
                        settings, commit: commit, ref: ref, grace: entrypoint.stopGrace, hurry: hurry,
                        unless: { [self] in isTerminating.get() })
                }
            } else if !isTerminating.get() {
                try await supervisor.start(settings, commit: commit, ref: ref)
            }
        } catch let unusable as AppCommand.Unusable {
            session.logger.error("\(unusable.message)")
            finish(unusable.code)
            return
        } catch {
            session.logger.error("\(error)")
            finish(71)
            return
        }
        guard let waitFor = entrypoint.waitFor, settings.hook(.postDeploy) != nil, !isTerminating.get() else { return }
        if !(await Readiness(waitFor: waitFor, limit: entrypoint.waitTimeout, stop: stop, probe: probe).wait()),
            !stop.isRequested
        {
            session.logger.warning(
                "the app did not answer within \(DurationText.text(entrypoint.waitTimeout)) (\(Setting.waitTimeout.name)): POST_DEPLOY runs all the same"
            )
        }
    }

    // MARK: - Ends

    /// Sets the exit code, once, and ends hooks and checks.
    private func finish(_ code: Int32) {
        end.setOnce(code)
        stop.request()
        inForce.ledger.hurry()
        bell.close()
    }

    private func endApp(_ supervisor: AppSupervisor) async {
        if let ended = await supervisor.end(grace: settings.get().stopGrace, hurry: hurry) { finish(ended.code) }
    }

    private func appEnded(_ ended: AppSupervisor.End) {
        if settings.get().keepsAlive, ended.code != 0, !isTerminating.get() {
            session.logger.warning(
                "\(Setting.keepAlive.name): the container stays up; the next deployed commit starts the app again")
            return
        }
        finish(ended.code)
    }

    // MARK: - Signals

    /// A signal that came.
    private struct Arrival: Sendable {
        var number: Int32
        var isFromKernel: Bool
        var hasTerminal: Bool

        func use(to receiver: SignalUse.Receiver) -> SignalUse {
            SignalUse(of: number, to: receiver, isFromKernel: isFromKernel, hasTerminal: hasTerminal)
        }
    }

    private func listen() -> AsyncStream<Arrival> {
        // More than there are different ones.
        let (stream, continuation) = AsyncStream.makeStream(of: Arrival.self, bufferingPolicy: .bufferingOldest(256))
        let hasTerminal = ProcessSignals.hasTerminal
        ProcessSignals.listen { [bell] number, isFromKernel in
            let arrival = Arrival(number: number, isFromKernel: isFromKernel, hasTerminal: hasTerminal)
            switch arrival.use(to: .app) {
            case .checks: bell.ring(.signal)
            // Orphans of app and hooks become the agent's children: each is reaped when it ends, not at the next check.
            case .none: reapOrphans()
            case .stops, .kernel: return false
            case .app, .appAndEnds, .ends: continuation.yield(arrival)
            }
            return true
        }
        return stream
    }

    private func handle(_ arrival: Arrival, _ supervisor: AppSupervisor) async {
        let number = arrival.number
        let ends = arrival.use(to: .noApp) == .ends
        // What is left to be told of a start that failed is not waited for. Looked at last: such a start looks for the signal once
        // its end is set.
        defer { if ends, end.get() != nil { notifier.end() } }
        if number == SIGTERM {
            if isTerminating.get() {
                session.logger.notice("SIGTERM again: the app has a second left")
                hurry.request()
                return
            }
            isTerminating.set(true)
            let grace = settings.get().stopGrace
            // Apart, so that a second signal is heard meanwhile; before the stop, which lets `run` go on to wait for it.
            terminating.set(
                Task {
                    let ended = await supervisor.end(grace: grace, hurry: hurry)
                    finish(ended?.code ?? 128 + SIGTERM)
                })
            stop.request()
            inForce.ledger.hurry()
            bell.close()
            return
        }
        if await supervisor.send(number) { return }
        if ends {
            session.logger.notice("\(SignalNames.name(number)): there is no app to hear it, the agent ends")
            isTerminating.set(true)
            finish(128 + number)
        }
    }
}

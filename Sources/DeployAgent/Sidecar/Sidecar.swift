import Ledger
import Logging
public import ServiceLifecycle
public import Settings
import Shell

/// The check loop of `agent run`: waits for the workspace's lock, then checks every interval until it is stopped.
///
/// Its bell makes a check at once. On graceful shutdown the run in progress is ended and recorded, and `run()` returns.
public final class Sidecar: Service {
    private let session: AgentSession
    private let inForce: InForce
    private let notifier: Notifier
    private let clock: any Clock<Duration>
    private let vitals: Vitals
    /// Held back by this.
    private let after: Latch?
    private let bell: TriggerBell
    private let stop = StopSignal()
    private let fatal = Cell<SettingsError?>(nil)

    public init(
        session: AgentSession, inForce: InForce, notifier: Notifier, vitals: Vitals = Vitals(),
        bell: TriggerBell = TriggerBell(),
        after: Latch? = nil,
        clock: any Clock<Duration> = ContinuousClock()
    ) {
        self.session = session
        self.inForce = inForce
        self.notifier = notifier
        self.clock = clock
        self.vitals = vitals
        self.bell = bell
        self.after = after
    }

    /// Why the loop gave up: a setting was wrong at the first check. Nil when it was stopped in order.
    public var failure: SettingsError? { fatal.get() }

    public func run() async throws {
        try await withGracefulShutdownHandler {
            await after?.wait()
            try await loop()
        } onGracefulShutdown: {
            self.stop.request()
            self.inForce.ledger.hurry()
            self.bell.close()
        }
    }

    private func loop() async throws {
        guard let lock = try await session.acquireLock("run", bell: bell, stop: stop, clock: clock, vitals: vitals)
        else { return }
        defer { lock.release() }
        let watcher = session.watcher(
            lock, inForce, stop: stop, onStart: .changed, beforePost: nil, bell: bell)
        var checks = CheckLoop(
            session: session, lock: lock, watcher: watcher, bell: bell, clock: clock, vitals: vitals, notifier: notifier
        )
        await checks.recall()
        var trigger = Trigger.startup
        while !stop.isRequested {
            let outcome = await checks.check(trigger)
            if stop.isRequested { break }
            if case .misconfigured(let error) = outcome, trigger == .startup, await !canStay(watcher, error) {
                fatal.set(error)
                break
            }
            let next = await checks.rest(after: outcome)
            // The start's check is still to come.
            if case .notRolledBack = outcome, trigger == .startup, next == .poll { continue }
            trigger = next
        }
        await checks.watcher.showStopping()
        session.logger.info("stopped")
    }

    /// Whether a push mends it: a wrong app spec at the remote ends no agent whose workspace has a commit that can be used.
    private func canStay(_ watcher: Watcher, _ error: SettingsError) async -> Bool {
        guard error.isOfSpec, session.specProblem == nil, session.settings.remote != nil else { return false }
        return await watcher.checkedOut() != nil
    }
}

import Execution
import Glibc
public import Ledger
import Log
import Logging
public import ServiceLifecycle
import Settings
import Shell

/// The single check of `agent run-once`.
///
/// On graceful shutdown the run in progress is ended and recorded.
public final class OneCheck: Service {
    public enum Result: Sendable {
        case checked(CheckOutcome)
        /// Another agent works on the workspace.
        case busy(LockRecord?)
    }

    private let session: AgentSession
    private let inForce: InForce
    private let notifier: Notifier
    private let isForced: Bool
    private let stop = StopSignal()
    private let cell = Cell<Result?>(nil)
    private let looked = Cell<TaskCounts?>(nil)

    /// - Parameter isForced: deploy although the commit is settled.
    public init(session: AgentSession, inForce: InForce, notifier: Notifier, isForced: Bool) {
        self.session = session
        self.inForce = inForce
        self.notifier = notifier
        self.isForced = isForced
    }

    /// Whether it was asked to end early.
    public var wasStopped: Bool { stop.isRequested }

    /// What came of the check's look at the tasks; nil when it did not look, or there are none.
    public var tasks: TaskCounts? { looked.get() }

    /// What the check came to; nil before `run()` has returned.
    public var result: Result? { cell.get() }

    public func run() async throws {
        switch try session.attemptLock(command: "run-once") {
        case .held(var holder):
            // One that has just got the lock has not written yet who it is.
            for _ in 0..<20 where holder == nil {
                try await Task.sleep(for: .milliseconds(10))
                holder = session.lockHolder()
            }
            cell.set(.busy(holder))
        case .acquired(let lock):
            defer { lock.release() }
            let watcher = session.watcher(lock, inForce, stop: stop)
            let outcome = await withGracefulShutdownHandler {
                let outcome = await check(watcher, lock)
                lock.update { $0.note(outcome, at: .now, mask: session.log.secrets.mask) }
                // While the lock is held: only one delivers. A record that is away has nothing to tell of.
                if case .ledgerFailed = outcome {} else { await notifier.deliverAll() }
                return outcome
            } onGracefulShutdown: {
                self.stop.request()
                self.inForce.ledger.hurry()
                self.notifier.end()
            }
            looked.set(watcher.tasks.counts)
            cell.set(.checked(outcome))
        }
    }
}

extension OneCheck {
    /// Checks; a record that cannot be reached is waited for, with growing pauses, for a while.
    private func check(_ watcher: Watcher, _ lock: WorkspaceLock) async -> CheckOutcome {
        let deadline = ContinuousClock.now + session.settings.ledgerTimeout
        var failures = 0
        while true {
            let outcome = await watcher.check(.manual, isForced: isForced)
            if case .notRolledBack(let reason) = outcome {
                session.logger.error("the rollback was not made: \(reason.problem ?? reason.name)")
                lock.update { $0.note(outcome, at: .now, mask: session.log.secrets.mask) }
                // Who asked for it reads meanwhile what came of it.
                await pause(.milliseconds(200), stop)
                continue
            }
            guard case .ledgerFailed(let problem, isTransient: true) = outcome, !stop.isRequested else {
                await watcher.showStopping()
                return outcome
            }
            failures += 1
            let wait = Backoff.delay(afterFailures: failures, interval: .milliseconds(250))
            guard ContinuousClock.now + wait < deadline else { return outcome }
            session.logger.warning("\(problem); tried again in \(DurationText.text(wait))")
            await pause(wait, stop)
        }
    }
}

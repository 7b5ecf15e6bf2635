import Git
public import Ledger
import Logging
public import ServiceLifecycle
import Shell
import UnixSignals

/// The check loop of `agent run`: waits for the workspace's lock, then checks every interval until it is stopped.
///
/// SIGHUP checks at once. On graceful shutdown the run in progress is ended and recorded, and `run()` returns.
public final class Sidecar: Service {
    private let session: AgentSession
    private let ledger: any LedgerStore
    private let clock: any Clock<Duration>
    private let bell = TriggerBell()
    private let stop = StopSignal()
    private let fatal = Cell<SettingsError?>(nil)

    public init(session: AgentSession, ledger: any LedgerStore, clock: any Clock<Duration> = ContinuousClock()) {
        self.session = session
        self.ledger = ledger
        self.clock = clock
    }

    /// Why the loop gave up: a setting was wrong at the first check. Nil when it was stopped in order.
    public var failure: SettingsError? { fatal.get() }

    public func run() async throws {
        try await withGracefulShutdownHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                let hangups = await UnixSignalsSequence(trapping: .sighup)
                group.addTask {
                    for await _ in hangups { self.bell.ring(.signal) }
                }
                defer { group.cancelAll() }
                try await loop()
            }
        } onGracefulShutdown: {
            self.stop.request()
            self.bell.close()
        }
    }

    private func loop() async throws {
        guard let lock = try await acquireLock() else { return }
        defer { lock.release() }
        let watcher = session.watcher(lock, ledger: ledger, stop: stop)
        var trigger = Trigger.startup
        var last = LastOutcome()
        while !stop.isRequested {
            let outcome = await watcher.check(trigger)
            if stop.isRequested { break }
            report(outcome, &last)
            if case .misconfigured(let error) = outcome, trigger == .startup {
                fatal.set(error)
                break
            }
            // A commit that arrived meanwhile is deployed right after.
            let wait = Self.wait(after: outcome, interval: watcher.interval)
            let now = Timestamp.now
            lock.update { record in
                record.lastCheck = now
                record.lastOutcome = outcome.name
                record.lastError = outcome.problem.map(session.log.secrets.mask)
                record.nextCheck = now.advanced(by: wait)
            }
            if wait == .zero {
                trigger = .poll
                continue
            }
            trigger = await bell.wait(atMost: wait, clock: clock) ?? .poll
        }
        session.logger.info("stopped")
    }

    /// Tries once a second; only the process that has the lock decides and runs.
    private func acquireLock() async throws -> WorkspaceLock? {
        var said = false
        while !stop.isRequested {
            switch try session.attemptLock(command: "run") {
            case .acquired(let lock):
                let settings = session.settings
                session.logger.info(
                    "watching \(settings.remote.map { "\($0.remote.displayURL) \($0.remote.ref ?? "(default branch)") for " } ?? "")\(settings.workspace) every \(DurationText.text(settings.interval)) as \(settings.app) on \(settings.host)"
                )
                return lock
            case .held(let holder):
                // A holder that has just got the lock has not written yet who it is.
                if !said, holder != nil {
                    session.logger.notice(
                        "waiting: \(holder?.holder ?? "another agent") works on \(session.settings.workspace)")
                    said = true
                }
                _ = await bell.wait(atMost: .seconds(1), clock: clock)
            }
        }
        return nil
    }

    /// Zero after a deployment; else the interval, spread by 10 % so that many agents do not ask at once; earlier when a
    /// retry is due before that.
    static func wait(after outcome: CheckOutcome, interval: Duration) -> Duration {
        if case .deployment = outcome { return .zero }
        let spread = interval * Double.random(in: 0.9...1.1)
        if case .unchanged(_, .backoff(let until)) = outcome {
            let remaining = Duration.milliseconds(max(1, until.millisecondsSince(.now)))
            return min(spread, remaining)
        }
        return spread
    }

    private struct LastOutcome {
        var text: String?
    }

    /// Says what is new. What lasts is said once, at its begin; an unreachable remote every time.
    private func report(_ outcome: CheckOutcome, _ last: inout LastOutcome) {
        let text: String
        switch outcome {
        case .deployment:
            last.text = nil
            return
        case .unchanged(let commit, .deployed):
            session.logger.debug("unchanged: \(commit.prefix(7)) is deployed")
            last.text = nil
            return
        case .unreachable(let problem):
            session.logger.warning("\(problem); tried again at the next check")
            last.text = nil
            return
        case .unchanged(let commit, .settledAsFailed):
            text = "\(commit.prefix(7)) failed and its retries are used up: waiting for a new commit or `agent retry`"
        case .unchanged(let commit, .backoff(let until)):
            text = "\(commit.prefix(7)) failed; next attempt at \(until.rfc3339)"
        case .misconfigured(let error):
            text = "\(error); nothing is run until this is set right"
        case .stopped: return
        case .ledgerFailed(let problem), .failed(let problem):
            text = "\(problem); tried again at the next check"
        }
        guard text != last.text else { return }
        last.text = text
        if case .unchanged(_, .backoff) = outcome {
            session.logger.info("\(text)")
        } else if case .unchanged = outcome {
            session.logger.warning("\(text)")
        } else {
            session.logger.error("\(text)")
        }
    }
}

extension CheckOutcome {
    /// One word for status and JSON. A deployment that was interrupted did not go through, so it counts as failed; its own
    /// status tells the two apart.
    public var name: String {
        switch self {
        case .deployment(let deployment):
            switch deployment.status {
            case .succeeded: "deployed"
            case .deferred: "deferred"
            case .failed, .interrupted, .running: "failed"
            }
        case .unchanged, .stopped: "unchanged"
        case .unreachable, .ledgerFailed: "unreachable"
        case .misconfigured: "misconfigured"
        case .failed: "failed"
        }
    }

    /// What went wrong, nil when nothing did.
    public var problem: String? {
        switch self {
        case .deployment(let deployment): deployment.errorMessage
        case .unchanged(let commit, .settledAsFailed): "\(commit.prefix(7)) failed and its retries are used up"
        case .unchanged(let commit, .backoff(let until)): "\(commit.prefix(7)) failed; next attempt at \(until.rfc3339)"
        case .unchanged, .stopped: nil
        case .unreachable(let text), .ledgerFailed(let text), .failed(let text): text
        case .misconfigured(let error): error.description
        }
    }
}

import Git
import Ledger
import Logging
import Shell

/// What lies between two checks: the last one's outcome is said and noted, then the time until the next one passes.
struct CheckLoop {
    let session: AgentSession
    let lock: WorkspaceLock
    let watcher: Watcher
    let bell: TriggerBell
    let clock: any Clock<Duration>
    let vitals: Vitals
    /// What was said last.
    private var said: String?

    init(
        session: AgentSession, lock: WorkspaceLock, watcher: Watcher, bell: TriggerBell, clock: any Clock<Duration>,
        vitals: Vitals
    ) {
        self.session = session
        self.lock = lock
        self.watcher = watcher
        self.bell = bell
        self.clock = clock
        self.vitals = vitals
    }

    /// Makes one check.
    func check(_ trigger: Trigger, isOffline: Bool = false) async -> CheckOutcome {
        vitals.beat(quietFor: watcher.settingsInForce.longestCheck)
        let outcome = await watcher.check(trigger, isOffline: isOffline)
        let settings = watcher.settingsInForce
        vitals.checked(outcome, staleAfter: settings.interval * 3 + settings.gitTimeout)
        if case .deployment(let deployment) = outcome {
            vitals.deployed(deployment, (try? await watcher.ledger.runs(deployment: deployment.id)) ?? [])
        }
        return outcome
    }

    /// Tells the vitals what the record says of the last deployment.
    func recall() async {
        guard
            let last = try? await RecordReader(session: session, ledger: watcher.ledger)
                .history(limit: 1, commit: nil, status: nil).first
        else { return }
        vitals.recall(last, (try? await watcher.ledger.runs(deployment: last.id)) ?? [])
    }

    /// Says what a check came to, and waits for the next one.
    ///
    /// - Returns: what the next check is triggered by.
    mutating func rest(after outcome: CheckOutcome) async -> Trigger {
        report(outcome)
        let wait = Self.wait(after: outcome, interval: watcher.interval)
        let now = Timestamp.now
        lock.update { record in
            record.lastCheck = now
            record.lastOutcome = outcome.name
            record.lastError = outcome.problem.map(session.log.secrets.mask)
            record.nextCheck = now.advanced(by: wait)
        }
        vitals.beat(quietFor: wait + .seconds(30))
        // A commit that arrived meanwhile is deployed right after.
        if wait == .zero { return .poll }
        return await bell.wait(atMost: wait, clock: clock) ?? .poll
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

    /// Says what is new. What lasts is said once, at its begin; an unreachable remote every time.
    private mutating func report(_ outcome: CheckOutcome) {
        let text: String
        switch outcome {
        case .deployment:
            said = nil
            return
        case .unchanged(let commit, .deployed):
            session.logger.debug("unchanged: \(commit.prefix(7)) is deployed")
            said = nil
            return
        case .unreachable(let problem):
            session.logger.warning("\(problem); tried again at the next check")
            said = nil
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
        guard text != said else { return }
        said = text
        if case .unchanged(_, .backoff) = outcome {
            session.logger.info("\(text)")
        } else if case .unchanged = outcome {
            session.logger.warning("\(text)")
        } else {
            session.logger.error("\(text)")
        }
    }
}

extension AgentSession {
    /// Waits for the workspace's lock: tries once a second, and only the process that has it decides and runs.
    ///
    /// - Parameter limit: how long; nil waits until a stop is requested.
    /// - Returns: nil when there was a stop, or the time was up.
    func acquireLock(
        _ command: String, within limit: Duration? = nil, bell: TriggerBell, stop: StopSignal,
        clock: any Clock<Duration>
    ) async throws -> WorkspaceLock? {
        let start = ContinuousClock.now
        var said = false
        while !stop.isRequested {
            switch try attemptLock(command: command) {
            case .acquired(let lock):
                logger.info(
                    "watching \(settings.remote.map { "\($0.remote.displayURL) \($0.remote.ref ?? "(default branch)") for " } ?? "")\(settings.workspace) every \(DurationText.text(settings.interval)) as \(settings.app) on \(settings.host)"
                )
                return lock
            case .held(let holder):
                // A holder that has just got the lock has not written yet who it is.
                if !said, holder != nil {
                    logger.notice("waiting: \(holder?.holder ?? "another agent") works on \(settings.workspace)")
                    said = true
                }
                if let limit, ContinuousClock.now - start >= limit { return nil }
                _ = await bell.wait(atMost: .seconds(1), clock: clock)
            }
        }
        return nil
    }
}

import Execution
import Git
import Ledger
import Log
import Logging
import Settings
import Shell

/// What lies between two checks: the last one's outcome is said and noted, then the time until the next one passes.
struct CheckLoop {
    let session: AgentSession
    let lock: WorkspaceLock
    let watcher: Watcher
    let bell: TriggerBell
    let clock: any Clock<Duration>
    let vitals: Vitals
    let notifier: Notifier
    /// What was said last.
    private var said: String?
    /// Checks one after the other that could not reach the record.
    private var failuresOfLedger = 0

    init(
        session: AgentSession, lock: WorkspaceLock, watcher: Watcher, bell: TriggerBell, clock: any Clock<Duration>,
        vitals: Vitals, notifier: Notifier
    ) {
        self.session = session
        self.lock = lock
        self.watcher = watcher
        self.bell = bell
        self.clock = clock
        self.vitals = vitals
        self.notifier = notifier
    }

    /// Makes one check.
    func check(_ trigger: Trigger, isOffline: Bool = false) async -> CheckOutcome {
        vitals.beat(quietFor: watcher.settingsInForce.longestCheck)
        // A commit may bring longer timeouts than the one before.
        let (vitals, watcher) = (vitals, watcher)
        let outcome = await watcher.check(trigger, isOffline: isOffline) { settings in
            vitals.deploying(quietFor: settings.longestCheck)
            for name in settings.changedSinceStart(session.settings) {
                session.logger.warning(
                    "\(name) of this commit's app spec counts from the agent's next start on; to have it at once, set it in the environment"
                )
            }
        } waiting: { [quiet = watcher.settingsInForce.longestCheck] more in
            // As long as the other host lives, so does the wait.
            vitals.beat(quietFor: quiet + more)
        }
        let settings = watcher.settingsInForce
        vitals.checked(outcome, isOffline: isOffline, staleAfter: settings.interval * 3 + settings.gitTimeout)
        lock.update { $0.note(outcome, at: .now, mask: session.log.secrets.mask) }
        if let tasks = watcher.tasks.counts { vitals.looked(at: tasks) }
        if case .deployment(let deployment) = outcome {
            // A failed one may have had the commit before it brought back.
            for each in [deployment, watcher.wentBack].compactMap({ $0 }) {
                vitals.deployed(each, (try? await watcher.ledger.runs(deployment: each.id)) ?? [])
            }
            notifier.wake()
        }
        return outcome
    }

    /// Tells the vitals what the record says of the time before this start.
    func recall() async {
        // What an earlier agent could not deliver.
        notifier.wake()
        let record = RecordReader(session: session, watcher.inForce)
        let deployments = try? await record.history(limit: WayBack.depth, commit: nil, status: nil)
        guard let last = deployments?.first(where: { !$0.cameToNothing }) else { return }
        let succeeded = try? await record.history(limit: 1, commit: nil, status: .succeeded).first
        var runs: [Run] = []
        for hook in Hook.allCases {
            if let run = try? await watcher.ledger.lastRun(watcher.inForce.scope, kind: .hook, name: hook.rawValue) {
                runs.append(run)
            }
        }
        vitals.recall(last, lastSucceeded: succeeded, runs)
    }

    /// Says what a check came to, and waits for the next one.
    ///
    /// - Returns: what the next check is triggered by.
    mutating func rest(after outcome: CheckOutcome) async -> Trigger {
        report(outcome)
        if case .ledgerFailed = outcome { failuresOfLedger += 1 } else { failuresOfLedger = 0 }
        let now = Timestamp.now
        var wait = Self.wait(after: outcome, interval: watcher.interval, failuresOfLedger: failuresOfLedger)
        if case .unchanged(_, .deployed) = outcome, let time = watcher.tasks.retryAt {
            wait = min(wait, .milliseconds(max(0, time.millisecondsSince(now))))
        }
        lock.update { $0.nextCheck = now.advanced(by: wait) }
        vitals.beat(quietFor: wait + .seconds(30))
        // A commit that arrived meanwhile is deployed right after.
        if wait == .zero { return bell.take() ?? .poll }
        return await bell.wait(atMost: wait, clock: clock) ?? .poll
    }

    /// Zero after a deployment; else the interval, spread by 10 % so that many agents do not ask at once; earlier when a
    /// retry is due before that, or the record may be back.
    static func wait(after outcome: CheckOutcome, interval: Duration, failuresOfLedger: Int = 0) -> Duration {
        if case .deployment = outcome { return .zero }
        let spread = interval * Double.random(in: 0.9...1.1)
        switch outcome {
        case .unchanged(_, .backoff(let until)), .unchanged(_, .held(.waits(_, let until?))):
            return min(spread, .milliseconds(max(1, until.millisecondsSince(.now))))
        // What is due was not looked at. Who asked for the rollback reads meanwhile what came of it.
        case .notRolledBack: return min(spread, .seconds(2))
        default: break
        }
        if case .ledgerFailed(_, isTransient: true) = outcome {
            return min(spread, Backoff.delay(afterFailures: failuresOfLedger, interval: .seconds(1)))
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
        case .unreachable(let problem, _, nil):
            session.logger.warning("\(problem); tried again at the next check")
            said = nil
            return
        case .unreachable(let problem, .transient, let time?):
            text = "\(problem); asked again at \(time.rfc3339)"
        case .unreachable(let problem, .permanent, let time?):
            text =
                "\(problem); waiting does not help: asked again at \(time.rfc3339), or as soon as credentials or settings change"
        case .unchanged(let commit, .settledAsFailed):
            text = "\(commit.prefix(7)) failed and its retries are used up: waiting for a new commit or `agent retry`"
        case .unchanged(let commit, .held(.stands)):
            text =
                "\(commit.prefix(7)) is held, since it was rolled back from: waiting for a new commit or `agent retry`"
        case .unchanged(_, .backoff), .unchanged(_, .deferred), .unchanged(_, .held):
            text = outcome.problem ?? ""
        case .misconfigured(let error):
            text = "\(error); nothing is run until this is set right"
        case .stopped: return
        case .notRolledBack(let reason):
            session.logger.error(
                "the rollback was not made: \(session.log.secrets.mask(reason.problem ?? reason.name))")
            said = nil
            return
        case .ledgerFailed(let problem, _), .failed(let problem):
            text = "\(problem); tried again at the next check"
        }
        guard text != said else { return }
        said = text
        if outcome.isWaiting {
            session.logger.info("\(text)")
        } else if case .unchanged = outcome {
            session.logger.warning("\(text)")
        } else {
            session.logger.error("\(text)")
        }
    }
}

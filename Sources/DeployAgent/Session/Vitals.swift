public import Ledger
import Settings
import Synchronization

/// What a running agent knows of itself, for health checks and metrics: its heartbeat, whether the current commit is
/// deployed, and counts since its start.
public final class Vitals: Sendable {
    /// Why the current commit's deployment does not count as done, in words; `ready` when it does.
    public enum Readiness: Sendable, Equatable {
        case starting
        case ready
        case failed(String)
    }

    /// Runs of one hook by duration, as a Prometheus histogram has them.
    public struct Durations: Sendable, Equatable {
        /// Upper bounds in seconds.
        public static let bounds: [Double] = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600]
        /// How many took at most that long, by bound.
        public var counts = [Int](repeating: 0, count: bounds.count)
        public var sum = 0.0
        public var count = 0

        mutating func add(_ seconds: Double) {
            for index in counts.indices where seconds <= Self.bounds[index] { counts[index] += 1 }
            sum += seconds
            count += 1
        }
    }

    public struct Snapshot: Sendable {
        public var readiness = Readiness.starting
        /// When the loop will have shown itself again at the latest, unless it hangs; while the machine sleeps the loop does too.
        public var aliveUntil: SuspendingClock.Instant
        /// When the last check that could ask what it follows was made; nil before the first one.
        public var lastSuccessfulCheck: Timestamp?
        /// What the last check could not be made for; nil when it could.
        public var lastError: ErrorKind?
        /// From when on a check that did not succeed makes the state unknown.
        public var staleAfter: Duration
        /// Whether a deployment is under way: no check can be made beside it.
        public var isDeploying = false
        public var lastSucceededDeployment: Timestamp?
        public var commit: String?
        public var ref: String?
        public var attempt = 0
        /// Whether the last check found the followed commit held, since it was rolled back from.
        public var isHeld = false
        /// What came of all looks at the tasks together.
        public var tasks = TaskCounts()
        /// How often one could not be made, or not to its end.
        public var taskProblems = 0
        /// By outcome's name.
        public var checks: [String: Int] = [:]
        public var deployments: [DeploymentStatus: Int] = [:]
        /// By hook, then status.
        public var runs: [String: [RunStatus: Int]] = [:]
        public var durations: [String: Durations] = [:]
        /// The last run's status by hook. Stays until another run has ended.
        public var lastRuns: [String: RunStatus] = [:]

        /// Whether the last successful check is too long ago to know anything.
        public func isStale(at now: Timestamp) -> Bool {
            guard !isDeploying, let last = lastSuccessfulCheck else { return false }
            return Duration.milliseconds(now.millisecondsSince(last)) > staleAfter
        }
    }

    private let state: Mutex<Snapshot>
    /// Why the last deployment failed: what its commit is not ready for, also while it waits for the next attempt.
    private let lastFailure = Mutex<(commit: String, message: String)?>(nil)

    /// - Parameter silence: how long the loop may take to show itself for the first time.
    public init(silence: Duration = .seconds(600)) {
        state = Mutex(Snapshot(aliveUntil: .now + silence, staleAfter: .seconds(600)))
    }

    public var snapshot: Snapshot { state.withLock { $0 } }

    /// Says that the loop lives, and until when it may be silent.
    func beat(quietFor limit: Duration) {
        state.withLock { $0.aliveUntil = .now + limit }
    }

    /// Says that the commit was read and is being deployed, which takes so long at most.
    func deploying(quietFor limit: Duration) {
        state.withLock { state in
            state.aliveUntil = .now + limit
            state.isDeploying = true
        }
    }

    /// What the record says of the time before this start: the alert on a failed run must not clear itself by a restart.
    ///
    /// - Parameter runs: the last one of each hook.
    func recall(_ deployment: Deployment, lastSucceeded: Deployment?, _ runs: [Run]) {
        noteFailure(of: deployment)
        state.withLock { state in
            state.commit = deployment.commit
            state.ref = deployment.ref
            state.attempt = deployment.attempt
            state.lastSucceededDeployment = lastSucceeded?.completedAt
            for run in runs where run.status != .running && run.status != .skipped {
                state.lastRuns[run.name] = run.status
            }
        }
    }

    /// - Parameter isOffline: the remote was not asked, so that of it nothing new is known.
    func checked(_ outcome: CheckOutcome, isOffline: Bool, staleAfter: Duration) {
        state.withLock { state in
            state.checks[outcome.name, default: 0] += 1
            state.staleAfter = staleAfter
            state.isDeploying = false
            // What somebody asked for in vain says nothing of what the agent follows.
            if case .notRolledBack = outcome { return }
            state.lastError = outcome.errorKind
            let before = state.lastSuccessfulCheck
            defer { if isOffline { state.lastSuccessfulCheck = before } }
            switch outcome {
            case .deployment(let deployment):
                state.lastSuccessfulCheck = .now
                if !deployment.cameToNothing { state.isHeld = deployment.held != nil }
                state.readiness =
                    deployment.status == .succeeded
                    ? .ready : .failed(deployment.errorMessage ?? deployment.status.rawValue)
            case .unchanged(_, .held(let back)):
                // What was gone back to is what shall be there.
                state.lastSuccessfulCheck = .now
                state.isHeld = true
                state.readiness = back.problem.map(Readiness.failed) ?? .ready
            case .unchanged(let commit, let detail):
                state.lastSuccessfulCheck = .now
                state.isHeld = false
                state.commit = commit
                let failure = lastFailure.withLock { $0?.commit == commit ? $0?.message : nil }
                state.readiness =
                    detail == .deployed ? .ready : .failed(failure ?? outcome.problem ?? "the deployment failed")
            case .misconfigured(let error):
                state.readiness = .failed(error.description)
            // Nothing is deployed until somebody sets it right.
            case .unreachable(let problem, .permanent, _):
                state.readiness = .failed(problem)
            // Says nothing of the commit: what was known holds until it is stale.
            case .unreachable, .ledgerFailed, .failed, .stopped, .notRolledBack:
                break
            }
        }
    }

    private func noteFailure(of deployment: Deployment) {
        lastFailure.withLock { $0 = deployment.errorMessage.map { (deployment.commit, $0) } }
    }

    func deployed(_ deployment: Deployment, _ runs: [Run]) {
        noteFailure(of: deployment)
        state.withLock { state in
            state.deployments[deployment.status, default: 0] += 1
            if !deployment.cameToNothing {
                state.commit = deployment.commit
                state.ref = deployment.ref
                state.attempt = deployment.attempt
            }
            if deployment.status == .succeeded { state.lastSucceededDeployment = deployment.completedAt }
            for run in runs where run.status != .running && run.kind == .hook {
                state.runs[run.name, default: [:]][run.status, default: 0] += 1
                // It took no time, and an alert on the run before is not cleared by it.
                if run.status == .skipped { continue }
                state.lastRuns[run.name] = run.status
                if let duration = run.duration {
                    state.durations[run.name, default: Durations()].add(Double(duration.wholeMilliseconds) / 1000)
                }
            }
        }
    }

    func looked(at tasks: TaskCounts) {
        state.withLock { state in
            state.tasks.ran += tasks.ran
            state.tasks.skipped += tasks.skipped
            state.tasks.failed += tasks.failed
            state.taskProblems += tasks.error == nil ? 0 : 1
        }
    }
}

/// Who may do a named piece of work now.
///
/// It ends by the clock of the store when it is not renewed. Its number grows with every claim of that work, so that what is
/// done under an earlier one can be told and refused.
public struct Lease: Sendable, Equatable {
    /// How long it lasts from the claim or the last renewal on.
    public static let duration = Duration.seconds(20)
    /// How often its holder renews it.
    public static let heartbeat = Duration.seconds(5)

    /// Empty for what belongs to all apps of a record.
    public var app: String
    /// The piece of work: `PRE_DEPLOY`, `POST_DEPLOY`, or `task:` and a task's id.
    public var name: String
    public var fence: Int64
    /// The process that holds it, by its `Presence.instance`.
    public var holder: String

    public init(app: String, name: String, fence: Int64, holder: String) {
        self.app = app
        self.name = name
        self.fence = fence
        self.holder = holder
    }
}

/// A lease that somebody holds, as the fleet's view shows it.
public struct HeldLease: Sendable {
    public var name: String
    public var fence: Int64
    public var host: String
    public var commit: String
    /// Nil where none has begun under it.
    public var run: Int64?
    public var acquiredAt: Timestamp
    /// Negative once it has expired.
    public var remaining: Duration

    public init(
        name: String, fence: Int64, host: String, commit: String, run: Int64?, acquiredAt: Timestamp,
        remaining: Duration
    ) {
        self.name = name
        self.fence = fence
        self.host = host
        self.commit = commit
        self.run = run
        self.acquiredAt = acquiredAt
        self.remaining = remaining
    }
}

/// An agent that asks to do a piece of work that is done once: a hook for the whole fleet, or a task.
public struct ClaimRequest: Sendable {
    public var scope: Scope
    public var commit: String
    /// The asking process.
    public var holder: String
    /// The run as it begins when the claim is granted.
    public var run: RunDraft
    /// Further attempts after a failure, over all hosts; nil for as many as it takes.
    public var retries: Int?
    /// Whether a failure is a result to go on with rather than one to try again.
    public var isLenient: Bool
    /// A person asked for this commit again: a failure's backoff does not count.
    public var ignoresBackoff: Bool
    /// It is run whatever came of it before.
    public var isForced: Bool
    /// Whether somebody of this machine is at it, be it by another record: then it is not granted.
    public var isTaken = false
    /// The run that was waited for: its result is taken, however it ended, unless it was interrupted.
    public var awaited: Int64?

    public init(
        scope: Scope, commit: String, holder: String, run: RunDraft, retries: Int?, isLenient: Bool,
        ignoresBackoff: Bool, isForced: Bool, awaited: Int64? = nil
    ) {
        self.scope = scope
        self.commit = commit
        self.holder = holder
        self.run = run
        self.retries = retries
        self.isLenient = isLenient
        self.ignoresBackoff = ignoresBackoff
        self.isForced = isForced
        self.awaited = awaited
    }
}

extension ClaimRequest {
    /// Whose work it is: an app's, or that of all apps of the record, since the table of tasks that are done knows ids alone.
    package var owner: String { run.kind == .task ? Lease.allApps : scope.app }

    /// How the work's lease is called.
    package var work: String { run.kind == .task ? Lease.task(run.name) : run.name }

    /// Where its outcome is noted.
    package var outcome: Outcome.Key {
        Outcome.Key(app: owner, name: work, commit: run.kind == .task ? "" : commit)
    }

    /// Whether what came of the work so far is what this one goes by, rather than doing it anew.
    ///
    /// - Parameters:
    ///   - run: whose outcome it is; nil where that is not on record.
    ///   - status: nil for one that a person asked for again.
    ///   - failures: so far, over all hosts.
    ///   - attempt: the last one. Where a task failed on another host for this very commit, each of many hosts would try it at
    ///     once, whatever made it look: then the backoff counts.
    package func isAnswered(
        by run: Int64?, _ status: RunStatus?, failures: Int, retryIn: Duration?,
        attempt: (host: String?, commit: String?)
    ) -> Bool {
        let wasAwaited = run != nil && run == awaited
        guard wasAwaited || !isForced else { return false }
        let isRollout = self.run.kind == .task && attempt.commit == commit && attempt.host != scope.host
        let isWaiting = (isRollout || !ignoresBackoff) && (retryIn ?? .zero) > .zero
        switch status {
        // Whether a task is done its own table says.
        case .succeeded: return self.run.kind != .task
        case .failed, .timedOut:
            let isUsedUp = retries.map { failures > $0 } ?? false
            return wasAwaited || isLenient || isUsedUp || isWaiting
        case .deferred: return wasAwaited || isWaiting
        default: return false
        }
    }
}

extension Lease {
    /// Whose a task's lease is.
    package static let allApps = ""

    /// How a task's lease is called.
    package static func task(_ id: String) -> String { "task:" + id }
}

/// What came of asking.
public enum ClaimAnswer: Sendable {
    /// It is this agent's to run, and recorded as `running`.
    /// - failures: how often it failed before, over all hosts.
    case granted(Lease, Run, failures: Int)
    /// It has run.
    /// - run: nil for a task that was done by other means, and where the record does not have it.
    /// - host: where; nil when the record no longer has that.
    /// - failures: how often it failed, over all hosts.
    /// - retryIn: not before that time is it tried again; nil when it is not.
    case done(run: Int64?, host: String?, RunEnd, failures: Int, retryIn: Duration?)
    /// Somebody else runs it, or the same hook of another commit.
    case held(HeldBy)
}

/// Who has what was asked for.
public struct HeldBy: Sendable, Equatable {
    /// Nil for one that this record does not have.
    public var run: Int64?
    public var host: String
    public var commit: String
    /// Until the lease expires, if it is not renewed.
    public var expiresIn: Duration
    /// How many hosts may be asking, for them not to ask too often.
    public var hosts: Int

    public init(run: Int64?, host: String, commit: String, expiresIn: Duration, hosts: Int) {
        self.run = run
        self.host = host
        self.commit = commit
        self.expiresIn = expiresIn
        self.hosts = hosts
    }
}

/// How a run under a lease ended.
public struct ClaimResult: Sendable {
    public var lease: Lease
    public var commit: String
    /// The task that it is; nil for a hook.
    public var task: String?
    public var run: Int64
    public var result: RunResult
    /// When a failure is tried again.
    public var retryIn: Duration?

    public init(
        lease: Lease, commit: String, task: String? = nil, run: Int64, result: RunResult, retryIn: Duration?
    ) {
        self.lease = lease
        self.commit = commit
        self.task = task
        self.run = run
        self.result = result
        self.retryIn = retryIn
    }
}

extension ClaimResult {
    /// Where the work's outcome is noted.
    package var outcome: Outcome.Key {
        Outcome.Key(app: lease.app, name: lease.name, commit: task == nil ? commit : "")
    }

    package var isFailure: Bool { result.status.isFailure }
}

/// How far a deployment has come.
public enum DeploymentStatus: String, Sendable, Codable, CaseIterable {
    case running, succeeded, failed, interrupted, deferred
}

/// What made a check happen. A person's or a signal's check ignores the backoff. One of a later agent is kept as it came.
public struct Trigger: RawRepresentable, Hashable, Sendable {
    public var rawValue: String

    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    public static let startup = Trigger(rawValue: "startup")
    public static let poll = Trigger(rawValue: "poll")
    public static let manual = Trigger(rawValue: "manual")
    public static let signal = Trigger(rawValue: "signal")
    public static let webhook = Trigger(rawValue: "webhook")
    public static let rollback = Trigger(rawValue: "rollback")

    /// Whether the backoff after a failure counts for a check with this trigger.
    public var respectsBackoff: Bool {
        self == .startup || self == .poll
    }
}

/// Whose record an entry belongs to. One scope has at most one agent at work, the holder of the workspace's lock.
public struct Scope: Hashable, Sendable {
    /// `AGENT_APP`, the name in `appspec.yaml`, or the workspace's folder name.
    public var app: String
    /// `AGENT_HOST` or the host's name.
    public var host: String
    /// The workspace's canonical path.
    public var workspace: String

    public init(app: String, host: String, workspace: String) {
        self.app = app
        self.host = host
        self.workspace = workspace
    }
}

/// What is known of a deployment before it starts.
public struct DeploymentDraft: Sendable {
    public var scope: Scope
    /// Full commit id.
    public var commit: String
    /// First line of the commit message.
    public var subject: String
    public var author: String
    /// Branch or tag followed; nil when a commit id or a local HEAD is followed.
    public var ref: String?
    /// The commit deployed successfully before this one.
    public var previousCommit: String?
    public var trigger: Trigger
    /// 1 for the first deployment of a series of attempts on one commit.
    public var attempt: Int
    /// First deployment of the series; nil when this one starts a series.
    public var series: Int64?
    public var startedAt: Timestamp
    /// The commit that is rolled back from, which is not deployed for as long as the ref points to it; nil for all but
    /// rollbacks, and on record once a person has asked for it again.
    public var held: String?
    /// Whether PRE_DEPLOY runs in a rollback, too.
    public var withPre: Bool

    public init(
        scope: Scope, commit: String, subject: String, author: String, ref: String?, previousCommit: String?,
        trigger: Trigger, attempt: Int, series: Int64?, startedAt: Timestamp, held: String? = nil, withPre: Bool = false
    ) {
        self.scope = scope
        self.commit = commit
        self.subject = subject
        self.author = author
        self.ref = ref
        self.previousCommit = previousCommit
        self.trigger = trigger
        self.attempt = attempt
        self.series = series
        self.startedAt = startedAt
        self.held = held
        self.withPre = withPre
    }
}

/// How a deployment ended.
public struct DeploymentResult: Sendable {
    public var status: DeploymentStatus
    /// Whether no further attempt is needed: it succeeded, or its retries are used up.
    public var settled: Bool
    /// Not before this time is the commit due again; nil when it is due at once or settled.
    public var retryAt: Timestamp?
    /// Runs that failed in lenient mode.
    public var warnings: Int
    public var completedAt: Timestamp
    public var errorMessage: String?
    /// Nil when it did not come to the tasks.
    public var tasks: TaskCounts?

    public init(
        status: DeploymentStatus, settled: Bool, retryAt: Timestamp? = nil, warnings: Int, completedAt: Timestamp,
        errorMessage: String? = nil, tasks: TaskCounts? = nil
    ) {
        self.status = status
        self.settled = settled
        self.retryAt = retryAt
        self.warnings = warnings
        self.completedAt = completedAt
        self.errorMessage = errorMessage
        self.tasks = tasks
    }
}

/// What came of a look at the one-time tasks.
public struct TaskCounts: Sendable, Equatable {
    /// Tasks that ran here and succeeded.
    public var ran: Int
    /// Tasks that were not run here: done already, run by another host, or not to be tried yet.
    public var skipped: Int
    /// Tasks that ran here and failed.
    public var failed: Int
    /// Why none, or not all, could be looked at.
    public var error: String?

    public init(ran: Int = 0, skipped: Int = 0, failed: Int = 0, error: String? = nil) {
        self.ran = ran
        self.skipped = skipped
        self.failed = failed
        self.error = error
    }
}

/// One deployment as recorded: the work for one commit.
@dynamicMemberLookup
public struct Deployment: Sendable, Identifiable {
    public var id: Int64
    public var draft: DeploymentDraft
    /// Nil while it runs. Whether it is settled, and due again, may change afterwards.
    public var result: DeploymentResult?
    /// Whether the workspace was, or may have been, moved to this commit.
    public var published: Bool

    public init(id: Int64, draft: DeploymentDraft, result: DeploymentResult? = nil, published: Bool = false) {
        self.id = id
        self.draft = draft
        self.result = result
        self.published = published
    }

    public subscript<T>(dynamicMember path: WritableKeyPath<DeploymentDraft, T>) -> T {
        get { draft[keyPath: path] }
        set { draft[keyPath: path] = newValue }
    }

    /// First deployment of the series of attempts that this one belongs to.
    public var series: Int64 {
        get { draft.series ?? id }
        set { draft.series = newValue == id ? nil : newValue }
    }

    public var status: DeploymentStatus { result?.status ?? .running }
    public var settled: Bool { result?.settled ?? false }
    public var retryAt: Timestamp? { result?.retryAt }
    public var warnings: Int { result?.warnings ?? 0 }
    public var completedAt: Timestamp? { result?.completedAt }
    public var errorMessage: String? { result?.errorMessage }
    /// Nil while it runs. By the wall clock, and never negative where that was set back meanwhile.
    public var duration: Duration? {
        result.map { .milliseconds(max(0, $0.completedAt.millisecondsSince(draft.startedAt))) }
    }
    /// Nil when there were none, or it did not come to them.
    public var tasks: TaskCounts? { result?.tasks }

    /// Whether it is a rollback that has not published, and so has changed nothing: what it holds is not held, and no
    /// decision goes by it.
    public var cameToNothing: Bool { draft.trigger == .rollback && !published }

    /// SQL for those that do count.
    package static let counts = "(published OR trigger_name <> 'rollback')"
}

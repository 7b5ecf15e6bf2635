/// What the record says that bears on the decision about one commit.
public struct LedgerFacts: Sendable {
    // A rollback that has not published counts for none of these: it has changed nothing.

    /// The newest deployment on the workspace, of whichever commit and whatever the app was called then.
    public var latest: Deployment?
    /// The newest deployment of the scope that needs no further attempt.
    public var lastSettled: Deployment?
    /// The same but for rollbacks: what the ref has brought.
    public var lastBrought: Deployment?
    /// The newest deployment of the commit in question.
    public var latestOfCommit: Deployment?
    /// The commit deployed successfully last on the workspace.
    public var lastSucceededCommit: String?

    public init(
        latest: Deployment? = nil, lastSettled: Deployment? = nil, lastBrought: Deployment? = nil,
        latestOfCommit: Deployment? = nil, lastSucceededCommit: String? = nil
    ) {
        self.latest = latest
        self.lastSettled = lastSettled
        self.lastBrought = lastBrought
        self.latestOfCommit = latestOfCommit
        self.lastSucceededCommit = lastSucceededCommit
    }
}

/// Which deployments a listing shows, newest first.
public struct HistoryFilter: Sendable {
    public enum Subject: Sendable {
        case workspace(String)
        case app(String)
    }

    /// Nil: every host.
    public var host: String?
    public var subject: Subject
    public var limit: Int
    /// Commit id or the beginning of one.
    public var commit: String?
    public var status: DeploymentStatus?

    public init(
        host: String?, subject: Subject, limit: Int, commit: String? = nil, status: DeploymentStatus? = nil
    ) {
        self.host = host
        self.subject = subject
        self.limit = limit
        self.commit = commit
        self.status = status
    }
}

/// What tells a deployment from every other, in whichever record it is and whatever its id is there.
public struct DeploymentKey: Hashable, Sendable {
    public var scope: Scope
    public var commit: String
    public var attempt: Int
    public var startedAt: Timestamp

    public init(scope: Scope, commit: String, attempt: Int, startedAt: Timestamp) {
        self.scope = scope
        self.commit = commit
        self.attempt = attempt
        self.startedAt = startedAt
    }
}

extension Deployment {
    /// What it is known by in every record.
    public var key: DeploymentKey {
        DeploymentKey(
            scope: draft.scope, commit: draft.commit, attempt: draft.attempt, startedAt: draft.startedAt)
    }
}

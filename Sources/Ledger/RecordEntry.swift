/// A deployment with all that belongs to it, as it is moved from one record to another.
///
/// Its ids are those of the record that it comes from; what it refers to outside itself is named by what is the same in
/// every record.
public struct RecordEntry: Sendable {
    public var deployment: Deployment
    /// In the order in which they began.
    public var runs: [CopiedRun]
    public var notifications: [PendingNotification]
    /// The deployment before it on the same workspace and host; nil for the first one that is left.
    public var before: DeploymentKey?
    /// The attempt before it of the same series; nil for the first one that is left.
    public var earlierAttempt: DeploymentKey?

    public init(
        deployment: Deployment, runs: [CopiedRun], notifications: [PendingNotification], before: DeploymentKey?,
        earlierAttempt: DeploymentKey?
    ) {
        self.deployment = deployment
        self.runs = runs
        self.notifications = notifications
        self.before = before
        self.earlierAttempt = earlierAttempt
    }

    /// Whether it, or one of its runs, has not ended.
    public var isRunning: Bool {
        deployment.status == .running || runs.contains { $0.run.status == .running }
    }
}

/// A deployment that somebody is to be told of, and nobody has heard of yet.
public struct PendingNotification: Sendable, Equatable {
    public var id: Int64
    public var deployment: Int64
    /// How often it was tried in vain.
    public var attempts: Int
    public var createdAt: Timestamp
    public var dueAt: Timestamp

    public init(id: Int64, deployment: Int64, attempts: Int, createdAt: Timestamp, dueAt: Timestamp) {
        self.id = id
        self.deployment = deployment
        self.attempts = attempts
        self.createdAt = createdAt
        self.dueAt = dueAt
    }
}

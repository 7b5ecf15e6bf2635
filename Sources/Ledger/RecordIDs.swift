/// The highest ids that a record has given.
public struct RecordIDs: Sendable, Equatable {
    public var deployment: Int64
    public var run: Int64
    public var notification: Int64

    public init(deployment: Int64 = 0, run: Int64 = 0, notification: Int64 = 0) {
        self.deployment = deployment
        self.run = run
        self.notification = notification
    }

    /// The higher of each.
    func raised(to other: RecordIDs) -> RecordIDs {
        RecordIDs(
            deployment: max(deployment, other.deployment), run: max(run, other.run),
            notification: max(notification, other.notification))
    }
}

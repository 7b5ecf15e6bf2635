/// Who is told of settled deployments.
public struct NotificationSettings: Sendable, Equatable {
    /// `NOTIFY_URL`, http or https. It may itself be the secret.
    public var url: String
    /// `NOTIFY_SECRET`; without one nothing is signed.
    public var secret: String?
}

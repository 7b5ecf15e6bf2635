/// The HTTP server beside the check loop.
public struct HTTPSettings: Sendable, Equatable {
    /// `ENABLE_DEV_HEALTH`
    public var isEnabled: Bool
    /// Address or name to listen on.
    public var host: String
    public var port: Int
    /// `AGENT_API_TOKEN` or `AGENT_API_TOKEN_FILE`; without one there is no API.
    public var apiToken: SecretText?
    /// `AGENT_WEBHOOK_SECRET` or `AGENT_WEBHOOK_SECRET_FILE`; without one there is no webhook.
    public var webhookSecret: SecretText?
}

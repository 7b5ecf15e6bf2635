public import Ledger

/// One of a fleet's hosts, secrets masked.
public struct FleetHostView: Encodable, Sendable {
    public let host: String
    public let workspace: String
    /// What it follows; nil for HEAD.
    public let ref: String?
    /// The commit deployed successfully last.
    public let commit: String?
    /// The commit that it found last.
    public let target: String?
    public let isLagging: Bool
    public let state: HostState
    public let lastDeployment: Deployment?
    /// The last check's outcome in one word.
    public let lastOutcome: String
    public let lastError: String?
    /// By the clock of the store, as `unseenFor`.
    public let lastSeen: Timestamp
    public let unseenFor: Duration

    init(_ host: Fleet.Host, in standing: FleetStanding, mask: @Sendable (String) -> String) {
        self.host = host.presence.scope.host
        workspace = host.presence.scope.workspace
        ref = host.presence.ref.map(mask)
        commit = host.commit
        target = host.presence.target
        isLagging = standing.isLagging(host)
        state = standing.state(host)
        var last = host.lastDeployment
        last?.result?.errorMessage = host.lastDeployment?.errorMessage.map(mask)
        lastDeployment = last
        lastOutcome = host.presence.outcome
        lastError = host.presence.problem.map(mask)
        lastSeen = host.lastSeen
        unseenFor = host.unseenFor
    }

    private enum CodingKeys: String, CodingKey {
        case host, workspace, ref, commit, target
        case isLagging = "is_lagging"
        case state
        case lastDeployment = "last_deployment"
        case lastOutcome = "last_outcome"
        case lastError = "last_error"
        case lastSeen = "last_seen"
        case unseenMS = "unseen_ms"
    }

    private enum DeploymentKeys: String, CodingKey {
        case id, commit, status
        case startedAt = "started_at"
        case completedAt = "completed_at"
        case errorMessage = "error_message"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(host, forKey: .host)
        try container.encode(workspace, forKey: .workspace)
        try container.encode(ref, forKey: .ref)
        try container.encode(commit, forKey: .commit)
        try container.encode(target, forKey: .target)
        try container.encode(isLagging, forKey: .isLagging)
        try container.encode(state.rawValue, forKey: .state)
        if let lastDeployment {
            var deployment = container.nestedContainer(keyedBy: DeploymentKeys.self, forKey: .lastDeployment)
            try deployment.encode(lastDeployment.id, forKey: .id)
            try deployment.encode(lastDeployment.commit, forKey: .commit)
            try deployment.encode(lastDeployment.status.rawValue, forKey: .status)
            try deployment.encode(lastDeployment.startedAt.rfc3339, forKey: .startedAt)
            try deployment.encode(lastDeployment.completedAt?.rfc3339, forKey: .completedAt)
            try deployment.encode(lastDeployment.errorMessage, forKey: .errorMessage)
        } else {
            try container.encodeNil(forKey: .lastDeployment)
        }
        try container.encode(lastOutcome, forKey: .lastOutcome)
        try container.encode(lastError, forKey: .lastError)
        try container.encode(lastSeen.rfc3339, forKey: .lastSeen)
        try container.encode(unseenFor.wholeMilliseconds, forKey: .unseenMS)
    }
}

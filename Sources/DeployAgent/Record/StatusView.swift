public import Ledger

/// How things stand now.
public struct StatusView: Encodable, Sendable {
    public let scope: Scope
    /// The commit that the workspace holds.
    public let commit: String?
    public let lastDeployment: DeploymentView?
    /// The commit deployed successfully last.
    public let lastSucceededCommit: String?
    /// The commit that was rolled back from, and that nothing deploys for now.
    public let heldCommit: String?
    public let holder: LockRecord?
    /// What the last check came to, also when its agent has ended.
    public let last: LockRecord?
    public let ledger: String
    let mask: @Sendable (String) -> String

    enum CodingKeys: String, CodingKey {
        case app, host, workspace, commit
        case lastDeployment = "last_deployment"
        case lastSucceededCommit = "last_succeeded_commit"
        case heldCommit = "held_commit"
        case lock
        case lastCheck = "last_check"
        case lastOutcome = "last_outcome"
        case lastError = "last_error"
        case lastErrorKind = "last_error_kind"
        case nextCheck = "next_check"
        case ledger
    }

    private enum LockKeys: CodingKey { case pid, command, host, since }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(scope.app, forKey: .app)
        try container.encode(scope.host, forKey: .host)
        try container.encode(scope.workspace, forKey: .workspace)
        try container.encode(commit, forKey: .commit)
        try container.encode(lastDeployment, forKey: .lastDeployment)
        try container.encode(lastSucceededCommit, forKey: .lastSucceededCommit)
        try container.encode(heldCommit, forKey: .heldCommit)
        if let holder {
            var lock = container.nestedContainer(keyedBy: LockKeys.self, forKey: .lock)
            try lock.encode(holder.pid, forKey: .pid)
            try lock.encode(holder.command, forKey: .command)
            try lock.encode(holder.host, forKey: .host)
            try lock.encode(holder.since?.rfc3339, forKey: .since)
        } else {
            try container.encodeNil(forKey: .lock)
        }
        try container.encode(last?.lastCheck?.rfc3339, forKey: .lastCheck)
        try container.encode(last?.lastOutcome, forKey: .lastOutcome)
        try container.encode(last?.lastError.map(mask), forKey: .lastError)
        try container.encode(last?.lastErrorKind?.rawValue, forKey: .lastErrorKind)
        try container.encode(holder?.nextCheck?.rfc3339, forKey: .nextCheck)
        try container.encode(ledger, forKey: .ledger)
    }
}

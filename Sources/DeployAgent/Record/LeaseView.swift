public import Ledger

/// A lease that somebody holds, as JSON shows it.
public struct LeaseView: Encodable, Sendable {
    public let lease: HeldLease

    private enum CodingKeys: String, CodingKey {
        case name, fence, host, commit, run
        case acquiredAt = "acquired_at"
        case expiresInMS = "expires_in_ms"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(lease.name, forKey: .name)
        try container.encode(lease.fence, forKey: .fence)
        try container.encode(lease.host, forKey: .host)
        try container.encode(lease.commit, forKey: .commit)
        try container.encode(lease.run, forKey: .run)
        try container.encode(lease.acquiredAt.rfc3339, forKey: .acquiredAt)
        try container.encode(lease.remaining.wholeMilliseconds, forKey: .expiresInMS)
    }
}

/// What was found about a record on a server, and about the server.
public struct ServerFindings: Sendable {
    public var schema: String
    /// `17.2`.
    public var version: String
    /// 17.
    public var majorVersion: Int
    public var isStandby: Bool
    /// Whether a transaction can write nothing.
    public var isReadOnly: Bool
    public var maxConnections: Int
    /// Whether a pooler stands between.
    public var isPooled: Bool
    /// What the connection is encrypted with, or `off`; nil behind a pooler, which hides that.
    public var encryption: String?
    /// How far the server's clock is ahead of this host's, in milliseconds; negative when it is behind.
    public var clockAheadMilliseconds: Int64
    /// Settings by which what was committed may be lost, as `fsync = off`.
    public var unsafeSettings: [String]
    public var leases: [FoundLease]
    /// Outcomes of hooks for all hosts whose run is no longer on record.
    public var hooksWithoutRun: Int

    /// A lease that somebody has, or had and did not give up.
    public struct FoundLease: Sendable {
        public var app: String
        public var lease: HeldLease

        public init(app: String, lease: HeldLease) {
            self.app = app
            self.lease = lease
        }
    }

    public init(
        schema: String, version: String, majorVersion: Int, isStandby: Bool, isReadOnly: Bool, maxConnections: Int,
        isPooled: Bool, encryption: String?, clockAheadMilliseconds: Int64, unsafeSettings: [String],
        leases: [FoundLease], hooksWithoutRun: Int
    ) {
        self.schema = schema
        self.version = version
        self.majorVersion = majorVersion
        self.isStandby = isStandby
        self.isReadOnly = isReadOnly
        self.maxConnections = maxConnections
        self.isPooled = isPooled
        self.encryption = encryption
        self.clockAheadMilliseconds = clockAheadMilliseconds
        self.unsafeSettings = unsafeSettings
        self.leases = leases
        self.hooksWithoutRun = hooksWithoutRun
    }
}

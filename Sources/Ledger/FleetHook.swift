/// What came of a hook that runs once for all hosts, for one commit.
public struct FleetHook: Sendable {
    /// Which hook of which commit.
    public struct Key: Sendable, Hashable {
        public var app: String
        public var name: String
        public var commit: String

        public init(app: String, name: String, commit: String) {
            self.app = app
            self.name = name
            self.commit = commit
        }
    }

    public var key: Key
    public var run: Int64
    /// The run's marker, by which it is known in every record; nil when the run is no longer on record.
    public var marker: String?
    public var fence: Int64
    /// A run's status, or `due` when a person asked for it again.
    public var status: String
    public var failures: Int
    public var retryAt: Timestamp?

    public init(
        key: Key, run: Int64, marker: String?, fence: Int64, status: String, failures: Int, retryAt: Timestamp?
    ) {
        self.key = key
        self.run = run
        self.marker = marker
        self.fence = fence
        self.status = status
        self.failures = failures
        self.retryAt = retryAt
    }
}

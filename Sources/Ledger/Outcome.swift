/// What came of a piece of work that is done once: a hook that runs once for all hosts, for one commit, or a task.
public struct Outcome: Sendable {
    /// Which work.
    public struct Key: Sendable, Hashable {
        /// As its lease has it.
        public var app: String
        /// As its lease is called.
        public var name: String
        /// Empty for what is done once over all commits.
        public var commit: String

        public init(app: String, name: String, commit: String) {
            self.app = app
            self.name = name
            self.commit = commit
        }
    }

    /// What is known of a task beside that.
    public struct Attempt: Sendable, Equatable {
        /// How often it was begun.
        public var number: Int
        /// Hash of what it did.
        public var digest: String?
        /// For which app; nil where that was not noted.
        public var app: String?
        /// Where, and at which commit; nil when it was only marked.
        public var host: String?
        public var commit: String?

        public init(
            number: Int = 0, digest: String? = nil, app: String? = nil, host: String? = nil, commit: String? = nil
        ) {
            self.number = number
            self.digest = digest
            self.app = app
            self.host = host
            self.commit = commit
        }
    }

    public var key: Key
    /// Nil when there was none, or the record does not have it.
    public var run: Int64?
    /// The run's marker, by which it is known in every record; nil when the run is no longer on record.
    public var marker: String?
    public var fence: Int64
    /// A run's status, or `due` when a person asked for it again.
    public var status: String
    public var failures: Int
    public var retryAt: Timestamp?
    public var attempt: Attempt

    public init(
        key: Key, run: Int64?, marker: String?, fence: Int64, status: String, failures: Int, retryAt: Timestamp?,
        attempt: Attempt = Attempt()
    ) {
        self.key = key
        self.run = run
        self.marker = marker
        self.fence = fence
        self.status = status
        self.failures = failures
        self.retryAt = retryAt
        self.attempt = attempt
    }
}

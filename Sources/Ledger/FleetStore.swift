/// A record that many hosts share, in which each shows itself to the others.
public protocol FleetStore: LedgerStore {
    /// Notes that an agent lives and what it follows.
    ///
    /// - Returns: which process noted that before, nil when none did.
    func note(_ presence: Presence) async throws -> String?

    /// The app's agents, newest first, and its leases that are held.
    func fleet(app: String) async throws -> Fleet
}

/// An agent as it shows itself to the others at each check.
public struct Presence: Sendable {
    public var scope: Scope
    /// The process: random, and another one at every start.
    public var instance: String
    public var version: String
    /// What it follows; nil for the workspace's own HEAD or the remote's default branch.
    public var ref: String?
    /// The commit that it found there last.
    public var target: String?
    /// The last check's outcome in one word.
    public var outcome: String
    /// What went wrong, secrets masked.
    public var problem: String?
    /// Time between checks.
    public var interval: Duration
    /// It is about to end in order.
    public var isStopping: Bool

    public init(
        scope: Scope, instance: String, version: String, ref: String?, target: String?, outcome: String,
        problem: String?, interval: Duration, isStopping: Bool = false
    ) {
        self.scope = scope
        self.instance = instance
        self.version = version
        self.ref = ref
        self.target = target
        self.outcome = outcome
        self.problem = problem
        self.interval = interval
        self.isStopping = isStopping
    }
}

/// An app's agents and leases at one moment.
public struct Fleet: Sendable {
    public struct Host: Sendable {
        public var presence: Presence
        public var lastSeen: Timestamp
        /// Time since then by the clock of the store.
        public var unseenFor: Duration
        /// When it first found `presence.target`.
        public var targetSince: Timestamp?
        /// The commit deployed successfully last.
        public var commit: String?
        public var lastDeployment: Deployment?

        public init(
            presence: Presence, lastSeen: Timestamp, unseenFor: Duration, targetSince: Timestamp?, commit: String?,
            lastDeployment: Deployment?
        ) {
            self.presence = presence
            self.lastSeen = lastSeen
            self.unseenFor = unseenFor
            self.targetSince = targetSince
            self.commit = commit
            self.lastDeployment = lastDeployment
        }
    }

    public var hosts: [Host]
    public var leases: [HeldLease]

    public init(hosts: [Host], leases: [HeldLease]) {
        self.hosts = hosts
        self.leases = leases
    }
}

/// Who works on the apps of a record, and how far its leases have come.
public struct RecordMembers: Sendable {
    /// The number that a lease has reached.
    public struct Fence: Sendable, Equatable {
        public var app: String
        /// The piece of work: `PRE_DEPLOY`, `POST_DEPLOY`, or a task's.
        public var name: String
        public var number: Int64

        public init(app: String, name: String, number: Int64) {
            self.app = app
            self.name = name
            self.number = number
        }
    }

    /// An agent as it showed itself last.
    public struct Agent: Sendable {
        public var presence: Presence
        /// When it first found `presence.target`.
        public var targetSince: Timestamp?
        public var lastSeen: Timestamp

        public init(presence: Presence, targetSince: Timestamp?, lastSeen: Timestamp) {
            self.presence = presence
            self.targetSince = targetSince
            self.lastSeen = lastSeen
        }
    }

    public var fences: [Fence]
    public var agents: [Agent]

    public init(fences: [Fence], agents: [Agent]) {
        self.fences = fences
        self.agents = agents
    }
}

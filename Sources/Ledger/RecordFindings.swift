/// What was found when a record was looked at, without a change to it.
public struct RecordFindings: Sendable {
    /// How many steps of the tables' history the record has, and how many this agent knows.
    public var version: Int
    public var knownVersion: Int
    /// Why it cannot be written; empty when it can.
    public var refusals: [String]
    /// Nil when it is damaged so that nothing can be counted.
    public var contents: RecordContents?
    public var sizeBytes: Int64
    public var store: Store

    /// What only one kind of store has.
    public enum Store: Sendable {
        case file(FileFindings)
        case server(ServerFindings)
    }

    public init(
        version: Int, knownVersion: Int, refusals: [String], contents: RecordContents?, sizeBytes: Int64, store: Store
    ) {
        self.version = version
        self.knownVersion = knownVersion
        self.refusals = refusals
        self.contents = contents
        self.sizeBytes = sizeBytes
        self.store = store
    }
}

/// Some deployments of a record, the oldest first, with all that belongs to them: what is moved to another record in one
/// transaction.
public struct RecordPage: Sendable {
    public var entries: [RecordEntry]
    /// The highest ids of the record that it comes from: ids that are new in the other record lie above them, so that none
    /// names a log file that is there already, and what that record gives meanwhile stays behind what is still to come.
    public var last: RecordIDs
    /// Runs of earlier pages whose originals were not there yet.
    public var adoptions: [Adoption]

    public init(entries: [RecordEntry], last: RecordIDs, adoptions: [Adoption] = []) {
        self.entries = entries
        self.last = last
        self.adoptions = adoptions
    }

    /// That a run took over the result of another one, both by their markers.
    public struct Adoption: Sendable, Equatable {
        public var marker: String
        public var original: String

        public init(marker: String, original: String) {
            self.marker = marker
            self.original = original
        }
    }
}

/// Some runs of a record that belong to nothing, the oldest first: what is moved to another record in one transaction.
public struct RunPage: Sendable {
    public var runs: [CopiedRun]
    /// As a page of deployments has them.
    public var last: RecordIDs

    public init(runs: [CopiedRun], last: RecordIDs) {
        self.runs = runs
        self.last = last
    }
}

/// What was found about a record in a file.
public struct FileFindings: Sendable {
    /// As SQLite calls it: `wal` in a file of ours.
    public var journalMode: String
    /// What SQLite found wrong with the file; empty when nothing.
    public var damage: [String]

    public init(journalMode: String, damage: [String]) {
        self.journalMode = journalMode
        self.damage = damage
    }
}

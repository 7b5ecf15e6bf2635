import GRDB
import Ledger

/// Columns by their places: GRDB compares names without regard to case, which costs more than the query.
extension Row: RecordRow {
    func text(at place: Int) -> String? { self[place] }
    func integer(at place: Int) -> Int64? { self[place] }
    func flag(at place: Int) -> Bool? { self[place] }
    func time(at place: Int) -> Timestamp? {
        (self[place] as Int64?).map(Timestamp.init(milliseconds:))
    }
}

extension Deployment {
    /// All columns, as `init(row:)` reads them.
    static let columns = DeploymentColumn.list { "deployments.\($0.name)" }
}

extension Run {
    /// All columns, as `init(row:)` reads them.
    static let columns = RunColumn.list { "runs.\($0.name)" }
}

extension RecordValue {
    fileprivate var argument: (any DatabaseValueConvertible)? {
        switch self {
        case .null: nil
        case .text(let text): text
        case .integer(let number): number
        case .flag(let flag): flag
        case .time(let time): time.milliseconds
        }
    }
}

extension Database {
    /// Inserts a row with these columns.
    func insert<Column: RecordColumn>(_ columns: [Column], _ value: (Column) -> RecordValue) throws {
        let names = columns.map(\.name).joined(separator: ", ")
        let values: [(any DatabaseValueConvertible)?] = columns.map { value($0).argument }
        try cachedStatement(
            sql: "INSERT INTO \(Column.table) (\(names)) VALUES (\(databaseQuestionMarks(count: values.count)))"
        ).execute(arguments: StatementArguments(values))
    }
}

extension PendingNotification {
    /// Reads id, deployment, attempts, time of making and time due.
    init(row: Row) {
        self.init(
            id: row[0], deployment: row[1], attempts: row[2], createdAt: Timestamp(milliseconds: row[3]),
            dueAt: Timestamp(milliseconds: row[4]))
    }
}

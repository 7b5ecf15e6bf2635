import Ledger
import Postgres

/// SQL for a time that is given in milliseconds since 1970, as a parameter.
func timestamp(_ parameter: Int) -> String {
    "to_timestamp($\(parameter)::double precision / 1000)"
}

/// SQL for a column's time in milliseconds since 1970.
func milliseconds(_ column: String) -> String {
    "round(extract(epoch FROM \(column)) * 1000)::bigint"
}

extension PostgresValue {
    init(_ time: Timestamp?) { self.init(time?.milliseconds) }
}

extension PostgresRow {
    func time(_ column: Int) throws -> Timestamp {
        Timestamp(milliseconds: try get(column))
    }

    func optionalTime(_ column: Int) throws -> Timestamp? {
        try optional(column, as: Int64.self).map(Timestamp.init(milliseconds:))
    }
}

extension PostgresRow: RecordRow {
    func text(at place: Int) throws -> String? { try optional(place) }
    func integer(at place: Int) throws -> Int64? { try optional(place) }
    func flag(at place: Int) throws -> Bool? { try optional(place) }
    func time(at place: Int) throws -> Timestamp? { try optionalTime(place) }
}

extension RecordColumn {
    /// SQL for it as a `RecordRow` has it.
    fileprivate var read: String {
        let name = "\(Self.table).\(name)"
        return type == .time ? milliseconds(name) : name
    }

    /// SQL for a parameter that is written into it.
    fileprivate func written(_ parameter: Int) -> String {
        switch type {
        case .text: "$\(parameter)"
        case .integer: "$\(parameter)::bigint"
        case .flag: "$\(parameter)::boolean"
        case .time: timestamp(parameter)
        }
    }
}

extension PostgresValue {
    init(_ value: RecordValue) {
        switch value {
        case .null: self = .null
        case .text(let text): self = .text(text)
        case .integer(let number): self = .integer(number)
        case .flag(let flag): self = .boolean(flag)
        case .time(let time): self = .integer(time.milliseconds)
        }
    }
}

extension PostgresSession {
    /// Inserts a row with these columns.
    ///
    /// - Returns: its id.
    @discardableResult
    func insert<Column: RecordColumn>(_ columns: [Column], _ value: (Column) -> RecordValue) throws -> Int64 {
        let names = columns.map(\.name).joined(separator: ", ")
        let places = columns.enumerated().map { $1.written($0 + 1) }.joined(separator: ", ")
        return try query(
            "INSERT INTO \(Column.table) (\(names)) VALUES (\(places)) RETURNING id",
            columns.map { PostgresValue(value($0)) }
        ).rows[0].get(0)
    }
}

extension Deployment {
    /// All columns, as `init(row:)` reads them.
    static let columns = DeploymentColumn.list(\.read)
}

extension Run {
    /// All columns, as `init(row:)` reads them.
    static let columns = RunColumn.list(\.read)
}

extension PendingNotification {
    static let columns =
        "notifications.id, deployment, attempts, \(milliseconds("created_at")), \(milliseconds("due_at"))"

    init(row: PostgresRow) throws {
        self.init(
            id: try row.get(0), deployment: try row.get(1), attempts: try row.get(2), createdAt: try row.time(3),
            dueAt: try row.time(4))
    }
}

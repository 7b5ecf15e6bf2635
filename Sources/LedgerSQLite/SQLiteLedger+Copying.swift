import GRDB
public import Ledger

/// Moving a record.
extension SQLiteLedger {
    public func page(after id: Int64, limit: Int) async throws -> RecordPage {
        try await read { db in try RecordPage(SQLiteRecordTables(db: db), after: id, limit: limit) }
    }

    public func runPage(after id: Int64, limit: Int) async throws -> RunPage {
        try await read { db in try RunPage(SQLiteRecordTables(db: db), after: id, limit: limit) }
    }

    public func insert(_ page: RunPage) async throws -> RecordAddition {
        try await write { db in try RecordMerge.add(page, to: SQLiteRecordTables(db: db)) }
    }

    public func insert(_ page: RecordPage) async throws -> RecordAddition {
        try await write { db in try RecordMerge.add(page, to: SQLiteRecordTables(db: db)) }
    }
}

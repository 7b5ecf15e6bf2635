import GRDB
import Glibc
public import Ledger

/// Looking at a file.
extension SQLiteLedger {
    /// Says what there is, and changes nothing; nil when the file is empty.
    ///
    /// - Parameter path: of a file that is there.
    /// - Throws: `LedgerError`.
    public static func inspect(path: String) async throws -> RecordFindings? {
        try await LedgerError.reporting("read", path) {
            let opened: DatabaseQueue?
            do {
                opened = try SQLiteFile.openToLook(path)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
                guard let version = SQLiteFile.versionInHeader(path) else { throw error }
                return RecordFindings(
                    version: version, knownVersion: RecordVersion.known, refusals: refusals(path), contents: nil,
                    sizeBytes: size(path) + size(path + "-wal"),
                    store: .file(
                        FileFindings(journalMode: "unknown", damage: ["the list of its tables cannot be read"])))
            }
            guard let queue = opened else { return nil }
            defer { try? queue.close() }
            // Each statement by itself: within a transaction the first one that meets damage ends them all.
            return try await queue.unsafeRead { db in
                let damage = try unlessDamaged { try Self.damage(db) } ?? ["its pages cannot be read"]
                return RecordFindings(
                    version: try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0,
                    knownVersion: RecordVersion.known, refusals: refusals(path),
                    contents: try unlessDamaged { try Self.contents(db) },
                    sizeBytes: size(path) + size(path + "-wal"),
                    store: .file(
                        FileFindings(
                            journalMode: try unlessDamaged {
                                try String.fetchOne(db, sql: "PRAGMA journal_mode") ?? "unknown"
                            } ?? "unknown", damage: damage)))
            }
        }
    }

    private static func unlessDamaged<T>(_ body: () throws -> T) throws -> T? {
        do {
            return try body()
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
            return nil
        }
    }

    /// What SQLite finds wrong, at most ten of it.
    private static func damage(_ db: Database) throws -> [String] {
        try String.fetchAll(db, sql: "PRAGMA integrity_check(10)").flatMap {
            $0.split(separator: "\n").map(String.init)
        }
        // Its head line names the database.
        .filter { $0 != "ok" && !$0.hasPrefix("***") }
    }

    private static func refusals(_ path: String) -> [String] {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
        var refusals: [String] = []
        if access(path, W_OK) != 0 { refusals.append("no right to write to the file") }
        if access(folder.isEmpty ? "/" : folder, W_OK) != 0 {
            refusals.append("no right to write to its folder, where SQLite keeps its journal")
        }
        return refusals
    }

    private static func size(_ path: String) -> Int64 {
        var info = stat()
        return stat(path, &info) == 0 ? Int64(info.st_size) : 0
    }

    private static func contents(_ db: Database) throws -> RecordContents {
        func count(_ rows: String) throws -> Int { try Int.fetchOne(db, sql: "SELECT count(*) \(rows)") ?? 0 }
        func found(_ rows: String) throws -> RecordContents.Found {
            .init(
                count: try count(rows),
                first: try Int64.fetchAll(
                    db, sql: "SELECT runs.id \(rows) ORDER BY runs.id LIMIT \(RecordContents.Found.limit)"))
        }
        func time(_ sql: String) throws -> Timestamp? {
            try Int64.fetchOne(db, sql: "SELECT \(sql) FROM deployments").map(Timestamp.init(milliseconds:))
        }
        return RecordContents(
            deployments: try count("FROM deployments"), runs: try count("FROM runs"),
            runningDeployments: try count("FROM deployments WHERE status = 'running'"),
            runningRuns: try count("FROM runs WHERE status = 'running'"), oldest: try time("min(started_at)"),
            newest: try time("max(started_at)"), overdueRuns: try found(RecordContents.overdue),
            orphanedRuns: try found(RecordContents.orphaned))
    }
}

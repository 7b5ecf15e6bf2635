import GRDB
import Glibc
import Ledger
import Synchronization

/// Opens the ledger's file.
enum SQLiteFile {
    /// Opens the file and brings its tables up to date, or creates it.
    ///
    /// A file that is damaged, of a version that is not worked with, or of another program is reported and never changed.
    /// - Parameter newer: is told of a newer version that is worked with.
    /// - Throws: `LedgerError`, `DatabaseError`.
    static func open(_ path: String, newer: (Int) -> Void) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.label = "ledger"
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA synchronous = FULL")
        }
        try look(at: path, configuration)
        var version = 0
        let queue = try connect(path, configuration) { queue in
            // Looked at before the journal mode is changed: switching to WAL writes to the file. Where it is WAL and the
            // tables are there, opening writes nothing.
            version = try inspect(queue, path)
            try queue.inDatabase { db in
                if try String.fetchOne(db, sql: "PRAGMA journal_mode") != "wal" {
                    try db.execute(sql: "PRAGMA journal_mode = WAL")
                }
            }
            try migrate(queue)
        }
        if version > RecordVersion.known { newer(version) }
        return queue
    }

    /// Opens a file that is there for looking at it: nothing is brought up to date, and what lies in its journal stays there.
    ///
    /// - Returns: nil when it is empty.
    /// - Throws: `LedgerError`, `DatabaseError`.
    static func openToLook(_ path: String) throws -> DatabaseQueue? {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.label = "ledger"
        try look(at: path, configuration)
        var info = stat()
        // A connection that may write moves a journal into the file when it closes; one that may not leaves an empty one
        // behind where there was none.
        if stat(path + "-wal", &info) == 0, info.st_size > 0 {
            configuration.readonly = true
        } else {
            configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA query_only = 1") }
        }
        var isEmpty = false
        let queue = try connect(path, configuration) { queue in
            try inspect(queue, path)
            isEmpty = try queue.unsafeRead { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 } == 0
        }
        if isEmpty { try queue.close() }
        return isEmpty ? nil : queue
    }

    /// What a file of ours says of its version where its tables cannot be read (https://www.sqlite.org/fileformat.html); nil
    /// when it is none of ours.
    static func versionInHeader(_ path: String) -> Int? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var header = [UInt8](repeating: 0, count: 100)
        guard pread(descriptor, &header, header.count, 0) == header.count else { return nil }
        func number(at offset: Int) -> Int { header[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) } }
        return number(at: 68) == SQLiteSchema.applicationID ? number(at: 60) : nil
    }

    /// Every connection that was made, closed ones too. Dispatch takes GRDB's queue apart on a thread of its pool; where the
    /// system has none left, whoever lets go of the last reference waits for one for ever.
    private static let connections = Mutex<[DatabaseQueue]>([])

    /// Opens a connection and does something with it, patiently; where that fails it is closed.
    private static func connect(
        _ path: String, _ configuration: Configuration, _ body: (DatabaseQueue) throws -> Void
    ) throws -> DatabaseQueue {
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        connections.withLock { $0.append(queue) }
        do {
            try patiently { try body(queue) }
        } catch {
            try? queue.close()
            throw error
        }
        return queue
    }

    /// Tries again while another agent creates the same file: switching to WAL does not wait for a lock by itself.
    private static func patiently(_ body: () throws -> Void) throws {
        let deadline = ContinuousClock.now + .seconds(5)
        while true {
            do {
                return try body()
            } catch let error as DatabaseError
                where error.resultCode == .SQLITE_BUSY || error.resultCode == .SQLITE_LOCKED
            {
                guard ContinuousClock.now < deadline else { throw error }
                usleep(UInt32.random(in: 2000...20_000))
            }
        }
    }

    /// Refuses what SQLite would change by opening it: a scrap that is shorter than a header, and a file beside which a
    /// journal of changes lies, which a connection that may write moves into the file when it closes.
    private static func look(at path: String, _ configuration: Configuration) throws {
        var info = stat()
        guard stat(path, &info) == 0 else { return }
        if (1..<100).contains(info.st_size), info.st_mode & S_IFMT == S_IFREG {
            throw LedgerError(
                .corrupt, operation: "open", location: path,
                explanation: "it is no SQLite database; name another file in AGENT_LEDGER_URL")
        }
        guard stat(path + "-wal", &info) == 0, info.st_size > 0 else { return }
        var configuration = configuration
        configuration.readonly = true
        configuration.prepareDatabase { _ in }
        try patiently { try connect(path, configuration) { _ = try inspect($0, path) }.close() }
    }

    /// - Returns: the version that it has; 0 when it is empty.
    @discardableResult
    private static func inspect(_ queue: DatabaseQueue, _ path: String) throws -> Int {
        // In one transaction: another agent may be creating the tables.
        try queue.read { db in
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
            if application == SQLiteSchema.applicationID {
                let compatibleFrom =
                    try version > RecordVersion.known && db.tableExists("schema_version")
                    ? Int.fetchOne(
                        db, sql: "SELECT compatible_from FROM schema_version WHERE version = ?", arguments: [version])
                    : nil
                try RecordVersion.check(
                    version, compatibleFrom: compatibleFrom, location: path,
                    another: "move the file away, or name another one in AGENT_LEDGER_URL")
            } else {
                let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
                guard tables == 0, version == 0 else {
                    throw LedgerError(
                        .foreign, operation: "open", location: path,
                        explanation: "it is another program's database; name another file in AGENT_LEDGER_URL")
                }
            }
            return version
        }
    }

    private static func migrate(_ queue: DatabaseQueue) throws {
        let version = try queue.unsafeRead { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
        guard version < RecordVersion.known else { return }
        try queue.inTransaction(.immediate) { db in
            // Read again: another agent may have migrated between the look and the lock.
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            guard version < RecordVersion.known else { return .rollback }
            for step in SQLiteSchema.steps(after: version) { try db.execute(sql: step) }
            try db.execute(sql: "DELETE FROM schema_version")
            try db.execute(
                sql: "INSERT INTO schema_version (version, compatible_from) VALUES (?, ?)",
                arguments: [RecordVersion.known, RecordVersion.compatibleFrom])
            try db.execute(sql: "PRAGMA application_id = \(SQLiteSchema.applicationID)")
            try db.execute(sql: "PRAGMA user_version = \(RecordVersion.known)")
            return .commit
        }
    }
}

import Glibc
public import Ledger
import LedgerPostgres
import LedgerSQLite
public import Log
import Logging
import Postgres
public import Settings
import Shell

extension LedgerAddress {
    /// Opens the record for writing; a file is made where there is none.
    ///
    /// - Parameters:
    ///   - tasksTable: which tasks are done; nil for the record's own table.
    ///   - limit: how long a server may take to let somebody in; nil for as long as it usually may, which is the most.
    ///   - log: learns the password of a file that is read again, before it is used.
    /// - Throws: `LedgerError`.
    public func open(
        tasksTable: String? = nil, within limit: Duration? = nil, for log: LogOutput? = nil
    ) throws -> any LedgerStore {
        switch self {
        case .sqlite(let path):
            // Command lines in the record may say more than others should read.
            let mask = umask(0o077)
            defer { umask(mask) }
            Self.makeForOwner(path)
            return try SQLiteLedger(path: path, newer: { noteNewer($0, log) })
        case .postgresql(_, _, let schema):
            return PostgresLedger(
                schema: schema, tasksTable: tasksTable, connectLimit: Self.limit(limit),
                madeTasksTable: { table in
                    log?.logger().warning(
                        "\(Setting.tasksTable.name): there was no table \(table); it was made, and no task is done in it"
                    )
                }, newer: { noteNewer($0, log) }
            ) {
                try connectionString { log?.learn(Secrets($0)) }
            }
        }
    }

    private func noteNewer(_ version: Int, _ log: LogOutput?) {
        log?.logger().warning("the ledger \(description): \(RecordVersion.note(version))")
    }

    /// Makes the file, where root would in another user's folder, as that user's: an agent of theirs must be able to use it.
    /// What SQLite makes beside it gets its owner.
    private static func makeForOwner(_ path: String) {
        var folder = stat()
        guard geteuid() == 0, let slash = path.lastIndex(of: "/"), stat(String(path[...slash]), &folder) == 0,
            folder.st_uid != 0
        else { return }
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        fchown(descriptor, folder.st_uid, folder.st_gid)
        close(descriptor)
    }

    /// Opens the record that is there; nil when there is none yet, and nothing is created.
    /// - Throws: `LedgerError`, also when it cannot be told whether there is one.
    public func openExisting(
        tasksTable: String? = nil, within limit: Duration? = nil
    ) async throws -> (any LedgerStore)? {
        switch self {
        case .sqlite(let path):
            return try Self.isThere(path) ? open() : nil
        case .postgresql(_, _, let schema):
            let ledger = PostgresLedger(schema: schema, tasksTable: tasksTable, connectLimit: Self.limit(limit)) {
                try connectionString()
            }
            return try await ledger.exists() ? ledger : nil
        }
    }

    /// Says what there is, and changes nothing; nil when there is no record yet.
    /// - Throws: `LedgerError`, also when it cannot be told whether there is one.
    func inspect(within limit: Duration) async throws -> RecordFindings? {
        switch self {
        case .sqlite(let path): return try Self.isThere(path) ? await SQLiteLedger.inspect(path: path) : nil
        case .postgresql(_, _, let schema):
            return try await PostgresLedger(schema: schema, connectLimit: Self.limit(limit)) { try connectionString() }
                .inspect()
        }
    }

    private static func limit(_ limit: Duration?) -> Duration {
        min(limit ?? PostgresLedger.connectLimit, PostgresLedger.connectLimit)
    }

    private static func isThere(_ path: String) throws -> Bool {
        if access(path, F_OK) == 0 { return true }
        guard errno == ENOENT else {
            throw LedgerError(
                errno == EACCES ? .denied : .unreachable, operation: "open", location: path,
                explanation: errorText(errno))
        }
        return false
    }
}

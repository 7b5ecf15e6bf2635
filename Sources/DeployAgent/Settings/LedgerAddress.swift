import Glibc
public import Ledger
import LedgerPostgres
import LedgerSQLite
import Logging
import Postgres
import Shell

/// Where the record is: a file, or a server that many hosts share.
public enum LedgerAddress: Sendable, Equatable {
    /// - path: absolute.
    case sqlite(path: String)
    /// - text: as set; nil when `file` holds it.
    /// - file: is read again for every connection.
    case postgresql(text: String?, file: String?, schema: String)

    public var isShared: Bool {
        if case .postgresql = self { true } else { false }
    }

    /// Without credentials.
    public var description: String {
        switch self {
        case .sqlite(let path): "sqlite:\(path)"
        case .postgresql(_, _, let schema):
            "postgresql://\((try? connectionString().place) ?? "") (schema \(schema))"
        }
    }

    /// What must be written nowhere.
    var passwords: [String] { (try? connectionString().passwords) ?? [] }

    /// The text as set or as the file has it now; nil for a file of SQLite's.
    var text: String? {
        guard case .postgresql(let text, let file, _) = self else { return nil }
        return text ?? file.flatMap(Settings.readTokenFile)
    }

    private func connectionString(_ learn: ([String]) -> Void = { _ in }) throws -> ConnectionString {
        guard let text else {
            throw PostgresError(.unreachable, message: "\(Setting.ledgerURLFile.name) cannot be read or is empty")
        }
        let string: ConnectionString
        do {
            string = try ConnectionString(text)
        } catch let error as PostgresError where error.code == .invalid {
            // Read with the settings it was in order: the file has changed since.
            throw PostgresError(
                .invalid, message: "\(Setting.ledgerURLFile.name) holds no ledger's URL: \(error.message)")
        }
        if case .postgresql(text: nil, _, _) = self { learn(string.passwords) }
        return string
    }

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

    /// Whether both name the same server, database and schema, by whatever user and in whatever form.
    func isSamePlace(as other: LedgerAddress) -> Bool {
        guard case .postgresql(_, _, let schema) = self, case .postgresql(_, _, schema) = other else { return false }
        let (place, otherPlace) = (try? connectionString().place, try? other.connectionString().place)
        return self == other || place != nil && place == otherPlace
    }

    /// Whether both name the same file.
    func isSameFile(as other: LedgerAddress) -> Bool {
        guard case .sqlite(let path) = self, case .sqlite(let otherPath) = other else { return false }
        var (info, otherInfo) = (stat(), stat())
        guard stat(path, &info) == 0, stat(otherPath, &otherInfo) == 0 else { return path == otherPath }
        return info.st_dev == otherInfo.st_dev && info.st_ino == otherInfo.st_ino
    }
}

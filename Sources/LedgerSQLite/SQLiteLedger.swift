import GRDB
import Glibc
public import Ledger

/// The embedded ledger: one SQLite file in WAL mode, one connection, every commit synced to disk.
///
/// Several processes may have the same file open; a writer waits up to 5 seconds for another. Statements run on GRDB's
/// own queue, never on the cooperative pool.
public struct SQLiteLedger: LedgerStore {
    private let queue: DatabaseQueue
    private let path: String

    /// Opens the file and brings its tables up to date, or creates it.
    ///
    /// A file that is damaged, of a newer version or of another program is reported and never changed.
    /// - Throws: `LedgerError`.
    public init(path: String) throws {
        self.path = path
        self.queue = try Self.reporting("open", path) {
            var configuration = Configuration()
            configuration.busyMode = .timeout(5)
            configuration.label = "ledger"
            configuration.prepareDatabase { db in
                try db.execute(sql: "PRAGMA synchronous = FULL")
            }
            try Self.look(at: path, configuration)
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            try Self.patiently {
                // Looked at before the journal mode is changed: switching to WAL writes to the file. Where it is WAL and
                // the tables are there, opening writes nothing.
                try Self.inspect(queue, path)
                try queue.inDatabase { db in
                    if try String.fetchOne(db, sql: "PRAGMA journal_mode") != "wal" {
                        try db.execute(sql: "PRAGMA journal_mode = WAL")
                    }
                }
                try Self.migrate(queue)
            }
            return queue
        }
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
        try patiently {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            try inspect(queue, path)
        }
    }

    private static func inspect(_ queue: DatabaseQueue, _ path: String) throws {
        // In one transaction: another agent may be creating the tables.
        try queue.read { db in
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
            if application == SQLiteSchema.applicationID {
                guard version <= SQLiteSchema.steps.count else {
                    throw LedgerError(
                        .newerSchema, operation: "open", location: path,
                        explanation:
                            "it was written by a newer version of the agent (schema \(version), this one knows "
                            + "\(SQLiteSchema.steps.count)); update the agent, or name another file in AGENT_LEDGER_URL"
                    )
                }
            } else {
                let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
                guard tables == 0, version == 0 else {
                    throw LedgerError(
                        .foreign, operation: "open", location: path,
                        explanation: "it is another program's database; name another file in AGENT_LEDGER_URL")
                }
            }
        }
    }

    private static func migrate(_ queue: DatabaseQueue) throws {
        let version = try queue.unsafeRead { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
        guard version < SQLiteSchema.steps.count else { return }
        try queue.inTransaction(.immediate) { db in
            // Read again: another agent may have migrated between the look and the lock.
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            for step in SQLiteSchema.steps.dropFirst(version) {
                try db.execute(sql: step)
            }
            try db.execute(sql: "PRAGMA application_id = \(SQLiteSchema.applicationID)")
            try db.execute(sql: "PRAGMA user_version = \(SQLiteSchema.steps.count)")
            return .commit
        }
    }

    public func close() {
        try? queue.close()
    }

    // MARK: - Deciding

    public func facts(_ scope: Scope, commit: String) async throws -> LedgerFacts {
        // In the usual case the newest deployment answers all: one statement, which needs no transaction of its own.
        let latest = try await reporting("read") {
            try await queue.unsafeRead { db in try Self.newest(db, scope) }
        }
        guard let latest else { return LedgerFacts() }
        if latest.settled, latest.commit == commit, latest.status == .succeeded, latest.scope.app == scope.app {
            return LedgerFacts(
                latest: latest, lastSettled: latest, latestOfCommit: latest, lastSucceededCommit: latest.commit)
        }
        return try await read { db in
            LedgerFacts(
                latest: try Self.newest(db, scope),
                lastSettled: try Self.newest(db, scope, " AND app = ? AND settled = 1", [scope.app]),
                latestOfCommit: try Self.newest(db, scope, " AND app = ? AND commit_id = ?", [scope.app, commit]),
                lastSucceededCommit: try Self.newest(db, scope, " AND status = 'succeeded'")?.commit)
        }
    }

    /// The newest deployment on a workspace that meets a condition; an index answers each of those used here.
    private static func newest(
        _ db: Database, _ scope: Scope, _ condition: String = "", _ extra: [String] = []
    ) throws -> Deployment? {
        let statement = try db.cachedStatement(
            sql: "SELECT \(Deployment.columns) FROM deployments WHERE host = ? AND workspace = ?\(condition) "
                + "ORDER BY id DESC LIMIT 1")
        let arguments = StatementArguments([scope.host, scope.workspace] + extra)
        return try Row.fetchOne(statement, arguments: arguments).map(Deployment.init(row:))
    }

    public func failures(series: Int64, name: String) async throws -> Int {
        try await read { db in try Self.failures(db, series: series, name: name) }
    }

    /// The count travels with the runs, so that it does not shrink when old deployments are deleted.
    private static func failures(_ db: Database, series: Int64, name: String) throws -> Int {
        try Int.fetchOne(
            db,
            sql: """
                SELECT max(runs.failures) FROM runs JOIN deployments ON runs.parent = deployments.id AND runs.kind = 'hook'
                WHERE deployments.series = ? AND runs.name = ?
                """,
            arguments: [series, name]) ?? 0
    }

    // MARK: - Writing

    public func begin(
        _ draft: DeploymentDraft, firstRun: (@Sendable (Int64) -> RunDraft)?
    ) async throws -> (deployment: Deployment, run: Run?) {
        try await write { db in
            try db.execute(
                sql: """
                    INSERT INTO deployments (app, host, workspace, commit_id, subject, author, ref, previous_commit,
                        trigger_name, attempt, series, status, started_at)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?)
                    """,
                arguments: [
                    draft.scope.app, draft.scope.host, draft.scope.workspace, draft.commit, draft.subject, draft.author,
                    draft.ref, draft.previousCommit, draft.trigger.rawValue, draft.attempt, draft.series ?? 0,
                    draft.startedAt.milliseconds,
                ])
            let id = db.lastInsertedRowID
            if draft.series == nil {
                try db.execute(sql: "UPDATE deployments SET series = id WHERE id = ?", arguments: [id])
            }
            let run = try firstRun.map { try Self.insert($0(id), db) }
            guard
                let row = try Row.fetchOne(
                    db, sql: "SELECT \(Deployment.columns) FROM deployments WHERE id = ?", arguments: [id])
            else {
                throw LedgerError(.corrupt, operation: "write", location: path, explanation: "a new row cannot be read")
            }
            return (Deployment(row: row), run)
        }
    }

    @discardableResult
    public func write(_ entries: [LedgerEntry]) async throws -> [Run] {
        try await write { db in
            var begun: [Run] = []
            for entry in entries {
                switch entry {
                case .beginRun(let draft):
                    begun.append(try Self.insert(draft, db))
                case .completeRun(let id, let result):
                    try db.execute(
                        sql: """
                            UPDATE runs SET status = ?, exit_code = ?, signal = ?, completed_at = ?, output_tail = ?,
                                error_message = ? WHERE id = ?
                            """,
                        arguments: [
                            result.status.rawValue, result.exitCode, result.signal, result.completedAt.milliseconds,
                            result.outputTail, result.errorMessage, id,
                        ])
                    try Self.countFailures(db, run: id, result.status)
                case .publish(let deployment):
                    try db.execute(
                        sql: "UPDATE deployments SET published = 1 WHERE id = ?", arguments: [deployment])
                case .completeDeployment(let id, let result):
                    try db.execute(
                        sql: """
                            UPDATE deployments SET status = ?, settled = ?, retry_at = ?, warnings = ?,
                                completed_at = ?, error_message = ? WHERE id = ?
                            """,
                        arguments: [
                            result.status.rawValue, result.settled, result.retryAt?.milliseconds, result.warnings,
                            result.completedAt.milliseconds, result.errorMessage, id,
                        ])
                }
            }
            return begun
        }
    }

    private static func countFailures(_ db: Database, run: Int64, _ status: RunStatus) throws {
        guard
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT deployments.series, runs.name FROM runs JOIN deployments ON runs.parent = deployments.id
                    WHERE runs.id = ?
                    """,
                arguments: [run])
        else { return }
        let before = try failures(db, series: row[0], name: row[1])
        let now = before + (status == .failed || status == .timedOut ? 1 : 0)
        try db.execute(sql: "UPDATE runs SET failures = ? WHERE id = ?", arguments: [now, run])
    }

    private static func insert(_ draft: RunDraft, _ db: Database) throws -> Run {
        try db.execute(
            sql: """
                INSERT INTO runs (kind, name, parent, marker, command, folder, mode, timeout_ms, attempt, status, started_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?)
                """,
            arguments: [
                draft.kind.rawValue, draft.name, draft.parent, draft.marker, draft.command, draft.folder, draft.mode,
                draft.timeout.wholeMilliseconds, draft.attempt, draft.startedAt.milliseconds,
            ])
        return Run(
            id: db.lastInsertedRowID, kind: draft.kind, name: draft.name, parent: draft.parent, marker: draft.marker,
            command: draft.command, folder: draft.folder, mode: draft.mode, timeout: draft.timeout,
            attempt: draft.attempt, status: .running, exitCode: nil, signal: nil, startedAt: draft.startedAt,
            completedAt: nil, outputTail: "", errorMessage: nil)
    }

    public func makeDue(_ deployment: Int64) async throws {
        try await write { db in
            try db.execute(
                sql: "UPDATE deployments SET settled = 0, retry_at = NULL WHERE id = ? AND status <> 'succeeded'",
                arguments: [deployment])
        }
    }

    public func prune(_ scope: Scope, keep: Int, limit: Int) async throws -> [Int64] {
        try await write { db in
            let arguments: StatementArguments = [scope.host, scope.app, scope.workspace]
            let own = "host = ? AND app = ? AND workspace = ?"
            // The id of the oldest deployment that stays; one index look-up when there is nothing to delete.
            guard
                let oldest = try Int64.fetchOne(
                    db, sql: "SELECT id FROM deployments WHERE \(own) ORDER BY id DESC LIMIT 1 OFFSET ?",
                    arguments: arguments + [max(keep, 1) - 1])
            else { return [] }
            let succeeded = try Int64.fetchOne(
                db, sql: "SELECT max(id) FROM deployments WHERE \(own) AND status = 'succeeded'", arguments: arguments)
            let old = try Int64.fetchAll(
                db,
                sql:
                    "SELECT id FROM deployments WHERE \(own) AND id < ? AND id <> ? AND status <> 'running' ORDER BY id LIMIT ?",
                arguments: arguments + [oldest, succeeded ?? 0, limit])
            var runs: [Int64] = []
            for id in old {
                runs += try Int64.fetchAll(
                    db, sql: "SELECT id FROM runs WHERE kind = 'hook' AND parent = ?", arguments: [id])
                try db.execute(sql: "DELETE FROM runs WHERE kind = 'hook' AND parent = ?", arguments: [id])
                try db.execute(sql: "DELETE FROM deployments WHERE id = ?", arguments: [id])
            }
            return runs
        }
    }

    // MARK: - Reading

    public func unfinished(host: String?, workspace: String) async throws -> (deployments: [Deployment], runs: [Run]) {
        try await read { db in
            let condition = "deployments.workspace = ? AND (? IS NULL OR deployments.host = ?)"
            let deployments = try Row.fetchAll(
                db,
                sql:
                    "SELECT \(Deployment.columns) FROM deployments WHERE status = 'running' AND \(condition) ORDER BY id",
                arguments: [workspace, host, host]
            ).map(Deployment.init(row:))
            let runs = try Row.fetchAll(
                db,
                sql: """
                    SELECT \(Run.columns) FROM runs
                    JOIN deployments ON runs.parent = deployments.id AND runs.kind = 'hook'
                    WHERE runs.status = 'running' AND \(condition) ORDER BY runs.id
                    """,
                arguments: [workspace, host, host]
            ).map(Run.init(row:))
            return (deployments, runs)
        }
    }

    public func ended(markers: [String]) async throws -> Set<String> {
        try await read { db in
            try Set(
                markers.filter { marker in
                    try Bool.fetchOne(
                        db, sql: "SELECT EXISTS (SELECT 1 FROM runs WHERE marker = ? AND status <> 'running')",
                        arguments: [marker]) ?? false
                })
        }
    }

    public func history(_ filter: HistoryFilter) async throws -> [Deployment] {
        try await read { db in
            // The unary plus keeps SQLite on the primary key, in order, instead of sorting an index's matches.
            var sql = "SELECT \(Deployment.columns) FROM deployments WHERE +host = ?"
            var arguments: StatementArguments = [filter.host]
            switch filter.subject {
            case .workspace(let path):
                sql += " AND +workspace = ?"
                arguments += [path]
            case .app(let name):
                sql += " AND +app = ?"
                arguments += [name]
            }
            if let commit = filter.commit {
                sql += " AND substr(commit_id, 1, ?) = ?"
                arguments += [commit.count, commit]
            }
            if let status = filter.status {
                sql += " AND status = ?"
                arguments += [status.rawValue]
            }
            return try Row.fetchAll(
                db, sql: sql + " ORDER BY id DESC LIMIT ?", arguments: arguments + [filter.limit]
            ).map(Deployment.init(row:))
        }
    }

    public func deployment(_ id: Int64) async throws -> Deployment? {
        try await read { db in
            try Row.fetchOne(db, sql: "SELECT \(Deployment.columns) FROM deployments WHERE id = ?", arguments: [id])
                .map(Deployment.init(row:))
        }
    }

    public func runs(deployment: Int64) async throws -> [Run] {
        try await read { db in
            try Row.fetchAll(
                db, sql: "SELECT \(Run.columns) FROM runs WHERE kind = 'hook' AND parent = ? ORDER BY id",
                arguments: [deployment]
            ).map(Run.init(row:))
        }
    }

    public func run(_ id: Int64) async throws -> Run? {
        try await read { db in
            try Row.fetchOne(db, sql: "SELECT \(Run.columns) FROM runs WHERE id = ?", arguments: [id]).map(
                Run.init(row:))
        }
    }

    // MARK: - Errors

    private func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await reporting("read") { try await queue.read(body) }
    }

    private func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await reporting("write") { try await queue.write(body) }
    }

    private func reporting<T>(_ operation: String, _ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch {
            throw Self.report(error, operation, path)
        }
    }

    private static func reporting<T>(_ operation: String, _ path: String, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch {
            throw report(error, operation, path)
        }
    }

    /// Says in the ledger's terms what SQLite reported (https://www.sqlite.org/rescode.html).
    private static func report(_ error: any Error, _ operation: String, _ path: String) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        let code: LedgerError.Code
        let advice: String
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            code = .corrupt
            advice = "the file is damaged or no database; it was left as it is: restore it from a copy, or move it away"
        case .SQLITE_FULL:
            code = .full
            advice = "no space is left on the disk; nothing was run"
        case .SQLITE_CANTOPEN, .SQLITE_NOTFOUND:
            code = .unreachable
            advice = "it cannot be opened; does its folder exist, and may this user write there?"
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            code = .denied
            advice = "this user may not write to it"
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            code = .unreachable
            advice = "another process kept it locked for 5 seconds"
        case .SQLITE_IOERR:
            code = .unreachable
            advice = "the disk reported an input/output error"
        default:
            code = .failed
            advice = "SQLite reported an error"
        }
        // Only SQLite's own words: `description` would add the statement and its values.
        return LedgerError(
            code, operation: operation, location: path,
            explanation: "\(advice) (SQLite \(error.extendedResultCode.rawValue): \(error.message ?? "no message"))")
    }
}

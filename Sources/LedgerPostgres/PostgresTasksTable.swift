import Ledger
import Postgres
import Synchronization

/// The table that says which tasks are done: ours, or another program's with the same three columns.
final class PostgresTasksTable: Sendable {
    /// As SQL has them, in the order in which they are looked for. A name that was set is taken as it stands, or else as SQL
    /// takes one without quotes.
    private let names: [String]
    private let found = Mutex<String?>(nil)
    /// Is told of one that was made although its name was set: perhaps it was mistyped.
    private let made: (@Sendable (String) -> Void)?

    /// - Parameters:
    ///   - name: `table`, of the schema `public`, or `schema.table`; nil for our own.
    ///   - schema: the record's.
    ///   - made: is told of a table of that name that was not there.
    init(_ name: String?, schema: String, made: @escaping @Sendable (String) -> Void) {
        func quoted(_ parts: [String]) -> String { parts.map(quotedIdentifier).joined(separator: ".") }
        guard let name else {
            names = [quoted([schema, "deploy_tasks"])]
            self.made = nil
            return
        }
        let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
        let full = parts.count == 1 ? ["public"] + parts : parts
        let folded = full.map { $0.lowercased() }
        names = full == folded ? [quoted(full)] : [quoted(full), quoted(folded)]
        self.made = made
    }

    /// As SQL has it.
    var name: String { found.withLock { $0 } ?? names[0] }

    /// Finds the table, and makes it where there is none.
    func prepare(_ session: PostgresSession) throws {
        guard try !exists(session) else { return }
        // Held until the end of the transaction, as for the other tables.
        try session.query("SELECT pg_advisory_xact_lock(1146113113, hashtext($1))", [.text(name)])
        guard try !exists(session) else { return }
        try session.query("CREATE TABLE \(name) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)")
        made?(name)
    }

    /// Whether it is there; nothing is made.
    func exists(_ session: PostgresSession) throws -> Bool {
        if found.withLock({ $0 }) != nil { return true }
        guard let name = try names.first(where: { try isThere($0, session) }) else { return false }
        found.withLock { $0 = name }
        return true
    }

    /// The database is another one than it was.
    func forget() {
        found.withLock { $0 = nil }
    }

    private func isThere(_ name: String, _ session: PostgresSession) throws -> Bool {
        let columns = try session.query(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            [.text(name)]
        ).rows.map { try $0.get(0, as: String.self) }
        guard !columns.isEmpty else { return false }
        let missing = ["id", "completed_at", "result"].filter { !columns.contains($0) }
        guard missing.isEmpty else {
            throw LedgerError(
                .foreign, operation: "use", location: name,
                explanation:
                    "it has no column \(missing.joined(separator: ", ")); AGENT_TASKS_TABLE takes a table with the "
                    + "columns id, completed_at and result")
        }
        return true
    }

    /// Before a task runs: writes that it is done, reads it, and takes that back. What could not be noted afterwards would be
    /// run again and again.
    ///
    /// - Returns: false when somebody else has noted it meanwhile.
    /// - Throws: `LedgerError` `forbidden` or `foreign` for a table that does not take it.
    func rehearse(_ task: String, _ session: PostgresSession) throws -> Bool {
        var isTaken = false
        var isThere = false
        do {
            try session.tentatively { undo in
                isTaken = try write(DoneTask(id: task, completedAt: .now, result: DoneTask.succeeded), session)
                // What is checked at the end of a transaction else.
                try session.query("SET CONSTRAINTS ALL IMMEDIATE")
                isThere = try isDone(task, session)
                undo = true
            }
            // One that wrote the same id at the same moment.
        } catch let error as PostgresError
            where error.code == .refused && !error.isTransient && error.sqlState != "23505"
        {
            let lacksRight = error.sqlState == "42501"
            throw LedgerError(
                lacksRight ? .forbidden : .foreign, operation: "write", location: name,
                explanation: "\(error); "
                    + (lacksRight
                        ? "this user needs: GRANT SELECT, INSERT, UPDATE, DELETE ON \(name)" : Self.need(task)))
        }
        guard isThere else {
            throw LedgerError(
                .foreign, operation: "write", location: name,
                explanation: "a row that is written is not there afterwards; \(Self.need(task))")
        }
        return isTaken
    }

    private static func need(_ task: String) -> String {
        "it must take a row of id, completed_at and result for the task \(task), which was not run"
    }

    func isDone(_ task: String, _ session: PostgresSession) throws -> Bool {
        try session.query(
            "SELECT EXISTS (SELECT 1 FROM \(name) WHERE id = $1::text AND completed_at IS NOT NULL)", [.text(task)]
        ).rows[0].get(0)
    }

    /// Notes how a run of a task ended, where that is something for the table.
    func note(_ task: String, _ result: RunResult, _ session: PostgresSession) throws {
        guard let text = DoneTask.result(result) else { return }
        if result.status == .succeeded {
            try write(DoneTask(id: task, completedAt: .now, result: text), session)
            return
        }
        // Others' tables may take no row without a time, or no such text, or give each row a time: then it stands in our own
        // record alone.
        do {
            try session.tentatively { undo in
                try write(DoneTask(id: task, completedAt: nil, result: text), session)
                try session.query("SET CONSTRAINTS ALL IMMEDIATE")
                undo = try isDone(task, session)
            }
        } catch let error as PostgresError where error.code == .refused && !error.isTransient {}
    }

    /// Writes a row. One that is done stays as it is. Whether the id is a key only its maker knows.
    ///
    /// - Returns: whether something was written.
    @discardableResult
    func write(_ task: DoneTask, _ session: PostgresSession) throws -> Bool {
        let values = [PostgresValue.text(task.id), PostgresValue(task.completedAt), PostgresValue(task.result)]
        let changed = try session.query(
            "UPDATE \(name) SET completed_at = \(timestamp(2)), result = $3::text WHERE id = $1::text AND completed_at IS NULL",
            values
        ).affected
        let added = try session.query(
            """
            INSERT INTO \(name) (id, completed_at, result) SELECT $1::text, \(timestamp(2)), $3::text
            WHERE NOT EXISTS (SELECT 1 FROM \(name) WHERE id = $1::text)
            """, values
        ).affected
        return changed + added > 0
    }

    func remove(_ task: String, _ session: PostgresSession) throws {
        try session.query("DELETE FROM \(name) WHERE id = $1::text", [.text(task)])
    }
}

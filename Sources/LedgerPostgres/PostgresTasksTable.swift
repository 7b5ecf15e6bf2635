import Ledger
import Postgres
import Synchronization

/// The table that says which tasks are done: ours, or another program's with the same three columns.
final class PostgresTasksTable: Sendable {
    /// As SQL has it.
    let name: String
    /// Whether a row may be there for a task that is not done; nil before the table was looked at.
    private let keepsOpen = Mutex<Bool?>(nil)

    /// - Parameters:
    ///   - name: `table`, of the schema `public`, or `schema.table`; nil for our own.
    ///   - schema: the record's.
    init(_ name: String?, schema: String) {
        let parts = name.map { $0.split(separator: ".", maxSplits: 1).map(String.init) } ?? [schema, "deploy_tasks"]
        self.name = (parts.count == 1 ? ["public"] + parts : parts).map(quotedIdentifier).joined(separator: ".")
    }

    /// Finds the table, and makes it where there is none.
    func prepare(_ session: PostgresSession) throws {
        guard keepsOpen.withLock({ $0 }) == nil else { return }
        let found = try look(session)
        if let found { return keepsOpen.withLock { $0 = found } }
        // Held until the end of the transaction, as for the other tables.
        try session.query("SELECT pg_advisory_xact_lock(1146113113, hashtext($1))", [.text(name)])
        try session.query(
            "CREATE TABLE IF NOT EXISTS \(name) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)")
    }

    /// Whether it is there; nothing is made.
    func exists(_ session: PostgresSession) throws -> Bool {
        try keepsOpen.withLock { $0 } != nil || look(session) != nil
    }

    /// - Returns: whether a row may be there without a time; nil when there is no table.
    private func look(_ session: PostgresSession) throws -> Bool? {
        let columns = try session.query(
            """
            SELECT attname::text, attnotnull FROM pg_attribute
            WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
            """, [.text(name)]
        ).rows.map { (try $0.get(0, as: String.self), isRequired: try $0.get(1, as: Bool.self)) }
        guard !columns.isEmpty else { return nil }
        let missing = ["id", "completed_at", "result"].filter { name in !columns.contains { $0.0 == name } }
        guard missing.isEmpty else {
            throw LedgerError(
                .foreign, operation: "use", location: name,
                explanation:
                    "it has no column \(missing.joined(separator: ", ")); AGENT_TASKS_TABLE takes a table with the "
                    + "columns id, completed_at and result")
        }
        return !columns.contains { ["completed_at", "result"].contains($0.0) && $0.isRequired }
    }

    /// Before a task runs: what could not be noted afterwards would be run again and again.
    func checkRights(_ session: PostgresSession) throws {
        let mayWrite: Bool = try session.query(
            "SELECT has_table_privilege(to_regclass($1), 'INSERT') AND has_table_privilege(to_regclass($1), 'UPDATE')",
            [.text(name)]
        ).rows[0].get(0)
        guard mayWrite else {
            throw LedgerError(
                .forbidden, operation: "write", location: name,
                explanation: "this user needs: GRANT SELECT, INSERT, UPDATE, DELETE ON \(name)")
        }
    }

    func isDone(_ task: String, _ session: PostgresSession) throws -> Bool {
        try session.query(
            "SELECT EXISTS (SELECT 1 FROM \(name) WHERE id = $1::text AND completed_at IS NOT NULL)", [.text(task)]
        ).rows[0].get(0)
    }

    /// Notes how a run of a task ended, where that is something for the table.
    func note(_ task: String, _ result: RunResult, _ session: PostgresSession) throws {
        guard let text = DoneTask.result(result) else { return }
        let isDone = result.status == .succeeded
        guard try isDone || keepsOpen.withLock({ $0 }) ?? look(session) ?? false else { return }
        try write(DoneTask(id: task, completedAt: isDone ? .now : nil, result: text), session)
    }

    /// Writes a row. One that is done stays as it is. Whether the id is a key only its maker knows.
    func write(_ task: DoneTask, _ session: PostgresSession) throws {
        let values = [PostgresValue.text(task.id), PostgresValue(task.completedAt), PostgresValue(task.result)]
        try session.query(
            "UPDATE \(name) SET completed_at = \(timestamp(2)), result = $3::text WHERE id = $1::text AND completed_at IS NULL",
            values)
        try session.query(
            """
            INSERT INTO \(name) (id, completed_at, result) SELECT $1::text, \(timestamp(2)), $3::text
            WHERE NOT EXISTS (SELECT 1 FROM \(name) WHERE id = $1::text)
            """, values)
    }

    func remove(_ task: String, _ session: PostgresSession) throws {
        try session.query("DELETE FROM \(name) WHERE id = $1::text", [.text(task)])
    }
}

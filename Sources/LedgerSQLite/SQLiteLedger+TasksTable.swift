import GRDB
import Ledger

/// The table that says which tasks are done: ours, or one that somebody made with the same three columns.
extension SQLiteLedger {
    /// Makes the table that says which tasks are done, where there is none.
    static func prepareTasks(_ db: Database) throws {
        if try !db.tableExists("deploy_tasks") {
            try db.execute(
                sql: "CREATE TABLE deploy_tasks (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)")
        }
    }

    /// - Throws: `LedgerError` for one that somebody made without its columns.
    static func tasksTableExists(_ db: Database, _ path: String) throws -> Bool {
        guard try db.tableExists("deploy_tasks") else { return false }
        let columns = try db.columns(in: "deploy_tasks").map { $0.name.lowercased() }
        let missing = ["id", "completed_at", "result"].filter { !columns.contains($0) }
        guard missing.isEmpty else {
            throw LedgerError(
                .foreign, operation: "use", location: "\(path) (table deploy_tasks)",
                explanation: "it has no column \(missing.joined(separator: ", "))")
        }
        return true
    }

    /// What is refused by the table as somebody has made it, rather than by the file or the disk.
    private static let refusals = [ResultCode.SQLITE_ERROR, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH]

    /// Before a task runs: writes that it is done, reads it, and takes that back. What could not be noted afterwards would be
    /// run again and again.
    ///
    /// - Returns: false when it is noted already.
    /// - Throws: `LedgerError` `foreign` for a table that does not take it.
    static func rehearse(_ task: String, _ path: String, _ db: Database) throws -> Bool {
        try prepareTasks(db)
        var isTaken = false
        var isThere = false
        do {
            try db.inSavepoint {
                isTaken = try write(DoneTask(id: task, completedAt: .now, result: DoneTask.succeeded), db)
                isThere = try isDone(task, db)
                return .rollback
            }
        } catch let error as DatabaseError where Self.refusals.contains(error.resultCode) {
            throw refusal(error.message ?? "it was refused", task, path)
        }
        guard isThere else { throw refusal("a row that is written is not there afterwards", task, path) }
        return isTaken
    }

    private static func refusal(_ reason: String, _ task: String, _ path: String) -> LedgerError {
        LedgerError(
            .foreign, operation: "write", location: "\(path) (table deploy_tasks)",
            explanation:
                "\(reason); it must take a row of id, completed_at and result for the task \(task), which was not run")
    }

    static func isDone(_ task: String, _ db: Database) throws -> Bool {
        try db.tableExists("deploy_tasks")
            && Bool.fetchOne(
                db, sql: "SELECT EXISTS (SELECT 1 FROM deploy_tasks WHERE id = ? AND completed_at IS NOT NULL)",
                arguments: [task]) ?? false
    }

    /// Notes how a run of a task ended, where that is something for the table.
    static func note(_ task: String, _ result: RunResult, _ db: Database) throws {
        guard let text = DoneTask.result(result) else { return }
        try prepareTasks(db)
        if result.status == .succeeded {
            try write(DoneTask(id: task, completedAt: .now, result: text), db)
            return
        }
        // A table that somebody made may take no row without a time, or give each a time: then it stands in our own record
        // alone.
        do {
            try db.inSavepoint {
                try write(DoneTask(id: task, completedAt: nil, result: text), db)
                return try isDone(task, db) ? .rollback : .commit
            }
        } catch let error as DatabaseError where Self.refusals.contains(error.resultCode) {}
    }

    /// Writes a row. One that is done stays as it is.
    ///
    /// - Returns: whether something was written.
    @discardableResult
    static func write(_ task: DoneTask, _ db: Database) throws -> Bool {
        let before = db.totalChangesCount
        try db.execute(
            sql: "UPDATE deploy_tasks SET completed_at = ?, result = ? WHERE id = ? AND completed_at IS NULL",
            arguments: [task.completedAt?.rfc3339, task.result, task.id])
        try db.execute(
            sql: """
                INSERT INTO deploy_tasks (id, completed_at, result) SELECT ?1, ?2, ?3
                WHERE NOT EXISTS (SELECT 1 FROM deploy_tasks WHERE id = ?1)
                """, arguments: [task.id, task.completedAt?.rfc3339, task.result])
        return db.totalChangesCount > before
    }
}

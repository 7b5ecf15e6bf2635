import GRDB
import Ledger

/// Rows as another record has them, whatever their status.
extension SQLiteRecordTables {
    func insert(_ deployment: Deployment) throws {
        try db.insert(DeploymentColumn.allCases) { deployment.value(of: $0) }
    }

    func insert(_ copied: CopiedRun) throws {
        try db.insert(RunColumn.allCases) { copied.run.value(of: $0, failures: copied.failures) }
        try SQLiteLedger.keep(copied.outputTail, of: copied.run.id, db)
    }

    func insert(_ notification: PendingNotification) throws {
        try db.execute(
            sql: "INSERT INTO notifications (id, deployment, attempts, created_at, due_at) VALUES (?, ?, ?, ?, ?)",
            arguments: [
                notification.id, notification.deployment, notification.attempts, notification.createdAt.milliseconds,
                notification.dueAt.milliseconds,
            ])
    }

    func adopt(marker: String, original: Int64) throws {
        try db.execute(
            sql: "UPDATE runs SET adopted = ? WHERE marker = ? AND is_adopted AND adopted IS NULL",
            arguments: [original, marker])
    }

    func remove(deployment id: Int64) throws { try SQLiteLedger.delete(deployment: id, db) }

    func remove(run id: Int64) throws { try SQLiteLedger.delete([id], db) }

    func advance(to last: RecordIDs) throws {
        // SQLite has no row for a table into which nothing was ever inserted.
        for (table, id) in [
            ("deployments", last.deployment), ("runs", last.run), ("notifications", last.notification),
        ] where id > 0 {
            try db.execute(
                sql: "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", arguments: [id, table])
            if db.changesCount == 0 {
                try db.execute(sql: "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", arguments: [table, id])
            }
        }
    }
}

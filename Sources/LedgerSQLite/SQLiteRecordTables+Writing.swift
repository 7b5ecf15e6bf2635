import GRDB
import Ledger

/// Rows as another record has them, whatever their status.
extension SQLiteRecordTables {
    func insert(_ deployment: Deployment) throws {
        let scope = deployment.scope
        let arguments: StatementArguments = [
            deployment.id, scope.app, scope.host, scope.workspace, deployment.commit, deployment.subject,
            deployment.author, deployment.ref, deployment.previousCommit, deployment.trigger, deployment.attempt,
            deployment.series, deployment.status.rawValue, deployment.settled, deployment.published,
            deployment.retryAt?.milliseconds, deployment.warnings, deployment.startedAt.milliseconds,
            deployment.completedAt?.milliseconds, deployment.errorMessage, deployment.tasks?.ran,
            deployment.tasks?.skipped, deployment.tasks?.failed, deployment.tasks?.error,
            deployment.held, deployment.withPre,
        ]
        try db.execute(
            sql: "INSERT INTO deployments (\(Deployment.columns)) VALUES (\(databaseQuestionMarks(count: 26)))",
            arguments: arguments)
    }

    func insert(_ run: Run, failures: Int) throws {
        let arguments: StatementArguments = [
            run.id, run.kind.rawValue, run.name, run.parent, run.marker, run.command, run.folder, run.mode,
            run.timeout.wholeMilliseconds, run.attempt, failures, run.status.rawValue, run.exitCode, run.signal,
            run.startedAt.milliseconds, run.completedAt?.milliseconds, run.outputTail, run.errorMessage,
            run.scope.rawValue, run.fence, run.adopted, run.digest, run.hookCommit,
        ]
        try db.execute(
            sql: """
                INSERT INTO runs (id, kind, name, parent, marker, command, folder, mode, timeout_ms, attempt, failures, status,
                    exit_code, signal, started_at, completed_at, output_tail, error_message, scope, fence, adopted, digest,
                    hook_commit)
                VALUES (\(databaseQuestionMarks(count: 23)))
                """, arguments: arguments)
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
            sql: "UPDATE runs SET adopted = ? WHERE marker = ? AND adopted = 0", arguments: [original, marker])
    }

    func remove(deployment id: Int64) throws {
        try db.execute(sql: "DELETE FROM runs WHERE kind \(RunKind.ofDeployments) AND parent = ?", arguments: [id])
        try db.execute(sql: "DELETE FROM notifications WHERE deployment = ?", arguments: [id])
        try db.execute(sql: "DELETE FROM deployments WHERE id = ?", arguments: [id])
    }

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

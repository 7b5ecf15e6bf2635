import GRDB
public import Ledger

/// What a deployment writes while it goes on, and what becomes of it later.
extension SQLiteLedger {
    public func begin(
        _ draft: DeploymentDraft, firstRun: (@Sendable (Int64) -> RunDraft)?
    ) async throws -> (deployment: Deployment, run: Run?) {
        try await write { db in
            var deployment = Deployment(id: 0, draft: draft)
            try db.insert(DeploymentColumn.allCases.filter { $0 != .id }) { deployment.value(of: $0) }
            deployment.id = db.lastInsertedRowID
            if draft.series == nil {
                try db.execute(sql: "UPDATE deployments SET series = id WHERE id = ?", arguments: [deployment.id])
            }
            return (deployment, try firstRun.map { try Self.insert($0(deployment.id), db) })
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
                case .adoptRun(let draft, let original, let end):
                    let run = try Self.insert(draft, db)
                    try db.execute(
                        sql: "UPDATE runs SET is_adopted = TRUE, adopted = ? WHERE id = ?",
                        arguments: [original, run.id])
                    try Self.complete(run.id, RunResult(end), db)
                case .completeRun(let id, let result):
                    try Self.complete(id, result, db)
                case .abandonRun(let id, let result):
                    try Self.complete(id, result, db)
                    try Self.expireLease(ofRun: id, db)
                case .publish(let deployment):
                    try db.execute(
                        sql: "UPDATE deployments SET published = 1 WHERE id = ?", arguments: [deployment])
                case .unpublish(let deployment):
                    try db.execute(
                        sql: "UPDATE deployments SET published = 0 WHERE id = ?", arguments: [deployment])
                case .completeDeployment(let id, let result):
                    try db.execute(
                        sql: """
                            UPDATE deployments SET status = ?, settled = ?, retry_at = ?, warnings = ?,
                                completed_at = ?, error_message = ?, tasks_ran = ?, tasks_skipped = ?,
                                tasks_failed = ?, tasks_error = ? WHERE id = ? AND status = 'running'
                            """,
                        arguments: [
                            result.status.rawValue, result.settled, result.retryAt?.milliseconds, result.warnings,
                            result.completedAt.milliseconds, result.errorMessage, result.tasks?.ran,
                            result.tasks?.skipped, result.tasks?.failed, result.tasks?.error, id,
                        ])
                case .settle(let deployment):
                    try db.execute(
                        sql: "UPDATE deployments SET settled = 1, retry_at = NULL WHERE id = ? AND status = 'failed'",
                        arguments: [deployment])
                case .notify(let deployment, let time):
                    try db.execute(
                        sql: """
                            INSERT INTO notifications (deployment, created_at, due_at) SELECT ?1, ?2, ?2
                            WHERE NOT EXISTS (SELECT 1 FROM notifications WHERE deployment = ?1)
                            """,
                        arguments: [deployment, time.milliseconds])
                case .removeNotification(let id):
                    try db.execute(sql: "DELETE FROM notifications WHERE id = ?", arguments: [id])
                case .postponeNotification(let id, let time):
                    try db.execute(
                        sql: "UPDATE notifications SET attempts = attempts + 1, due_at = ? WHERE id = ?",
                        arguments: [time.milliseconds, id])
                }
            }
            return begun
        }
    }

    /// - Parameter evenInterrupted: also where somebody has it as interrupted.
    static func complete(
        _ id: Int64, _ result: RunResult, _ db: Database, evenInterrupted: Bool = false
    ) throws {
        let open = evenInterrupted ? "IN ('running', 'interrupted')" : "= 'running'"
        try db.execute(
            sql: """
                UPDATE runs SET status = ?, exit_code = ?, signal = ?, completed_at = ?, error_message = ?
                WHERE id = ? AND status \(open)
                """,
            arguments: [
                result.status.rawValue, result.exitCode, result.signal, result.completedAt.milliseconds,
                result.errorMessage, id,
            ])
        guard db.changesCount > 0 else { return }
        try keep(result.outputTail, of: id, db)
        try countFailures(db, run: id, result.status)
    }

    /// Keeps the end of what a run printed, where it printed something.
    static func keep(_ tail: String, of run: Int64, _ db: Database) throws {
        try db.execute(sql: "DELETE FROM run_outputs WHERE run = ?", arguments: [run])
        guard !tail.isEmpty else { return }
        try db.execute(sql: "INSERT INTO run_outputs (run, tail) VALUES (?, ?)", arguments: [run, tail])
    }

    private static func countFailures(_ db: Database, run: Int64, _ status: RunStatus) throws {
        guard
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT deployments.series, runs.name FROM runs
                    JOIN deployments ON \(RunParent.isDeployment) AND runs.parent = deployments.id
                    WHERE runs.id = ? AND runs.kind = 'hook'
                    """,
                arguments: [run])
        else { return }
        let before = try failures(db, series: row[0], name: row[1])
        let now = before + (status.isFailure ? 1 : 0)
        try db.execute(sql: "UPDATE runs SET failures = ? WHERE id = ?", arguments: [now, run])
    }

    /// Begins the run, or finds it where an earlier attempt to write it did take effect.
    static func insert(_ draft: RunDraft, fence: Int64? = nil, _ db: Database) throws -> Run {
        let find = "SELECT \(Run.columns) FROM runs WHERE marker = ?"
        if let row = try Row.fetchOne(db, sql: find, arguments: [draft.marker]) { return try Run(row: row) }
        var run = Run(id: 0, draft: draft, fence: fence)
        try db.insert(RunColumn.allCases.filter { $0 != .id }) { run.value(of: $0) }
        run.id = db.lastInsertedRowID
        return run
    }

    public func releaseHold(_ deployment: Int64) async throws {
        try await write { db in
            try db.execute(sql: "UPDATE deployments SET held = NULL WHERE id = ?", arguments: [deployment])
        }
    }

    public func makeDue(_ deployment: Int64) async throws {
        try await write { db in
            try db.execute(
                sql: "UPDATE deployments SET settled = 0, retry_at = NULL WHERE id = ? AND status <> 'succeeded'",
                arguments: [deployment])
        }
    }
}

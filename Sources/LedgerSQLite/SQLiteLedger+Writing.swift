import GRDB
public import Ledger

/// What a deployment writes while it goes on, and what becomes of it later.
extension SQLiteLedger {
    public func begin(
        _ draft: DeploymentDraft, firstRun: (@Sendable (Int64) -> RunDraft)?
    ) async throws -> (deployment: Deployment, run: Run?) {
        try await write { db in
            try db.execute(
                sql: """
                    INSERT INTO deployments (app, host, workspace, commit_id, subject, author, ref, previous_commit,
                        trigger_name, attempt, series, status, started_at, held, with_pre)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?)
                    """,
                arguments: [
                    draft.scope.app, draft.scope.host, draft.scope.workspace, draft.commit, draft.subject, draft.author,
                    draft.ref, draft.previousCommit, draft.trigger.rawValue, draft.attempt, draft.series ?? 0,
                    draft.startedAt.milliseconds, draft.held, draft.withPre,
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
                case .adoptRun(let draft, let original, let result):
                    let run = try Self.insert(draft, db)
                    try db.execute(sql: "UPDATE runs SET adopted = ? WHERE id = ?", arguments: [original, run.id])
                    try Self.complete(run.id, result, db)
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
                UPDATE runs SET status = ?, exit_code = ?, signal = ?, completed_at = ?, output_tail = ?, error_message = ?
                WHERE id = ? AND status \(open)
                """,
            arguments: [
                result.status.rawValue, result.exitCode, result.signal, result.completedAt.milliseconds,
                result.outputTail, result.errorMessage, id,
            ])
        if db.changesCount > 0 { try countFailures(db, run: id, result.status) }
    }

    private static func countFailures(_ db: Database, run: Int64, _ status: RunStatus) throws {
        guard
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT deployments.series, runs.name FROM runs JOIN deployments ON runs.parent = deployments.id
                    AND runs.kind = 'hook' WHERE runs.id = ?
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
        if let row = try Row.fetchOne(db, sql: find, arguments: [draft.marker]) { return Run(row: row) }
        try db.execute(
            sql: """
                INSERT INTO runs (kind, name, parent, marker, command, folder, mode, timeout_ms, attempt, scope, status,
                    started_at, fence, digest, hook_commit)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?)
                """,
            arguments: [
                draft.kind.rawValue, draft.name, draft.parent, draft.marker, draft.command, draft.folder, draft.mode,
                draft.timeout.wholeMilliseconds, draft.attempt, draft.scope.rawValue, draft.startedAt.milliseconds,
                fence, draft.digest, draft.hookCommit,
            ])
        return Run(
            id: db.lastInsertedRowID, kind: draft.kind, name: draft.name, parent: draft.parent, marker: draft.marker,
            command: draft.command, folder: draft.folder, mode: draft.mode, timeout: draft.timeout,
            attempt: draft.attempt, status: .running, exitCode: nil, signal: nil, startedAt: draft.startedAt,
            completedAt: nil, outputTail: "", errorMessage: nil, scope: draft.scope, fence: fence, digest: draft.digest,
            hookCommit: draft.hookCommit)
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

    public func pruneDeferred(deployment: Int64, keep: Int) async throws -> [Int64] {
        try await write { db in
            try Int64.fetchAll(
                db,
                sql: """
                    DELETE FROM runs WHERE kind = 'task' AND parent = ? AND status = 'deferred' AND id <= (
                        SELECT id FROM runs WHERE kind = 'task' AND parent = ? AND status = 'deferred'
                        ORDER BY id DESC LIMIT 1 OFFSET ?)
                    RETURNING id
                    """,
                arguments: [deployment, deployment, keep])
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
            let counting = try Int64.fetchOne(
                db,
                sql: "SELECT id FROM deployments WHERE \(own) AND \(Deployment.counts) ORDER BY id DESC LIMIT 1",
                arguments: arguments)
            let old = try Int64.fetchAll(
                db,
                sql:
                    "SELECT id FROM deployments WHERE \(own) AND id < ? AND id NOT IN (?, ?) AND status <> 'running' ORDER BY id LIMIT ?",
                arguments: arguments + [oldest, succeeded ?? 0, counting ?? 0, limit])
            var runs: [Int64] = []
            for id in old {
                runs += try Int64.fetchAll(
                    db, sql: "SELECT id FROM runs WHERE kind \(RunKind.ofDeployments) AND parent = ?", arguments: [id])
                try db.execute(
                    sql: "DELETE FROM runs WHERE kind \(RunKind.ofDeployments) AND parent = ?", arguments: [id])
                try db.execute(sql: "DELETE FROM notifications WHERE deployment = ?", arguments: [id])
                try db.execute(sql: "DELETE FROM deployments WHERE id = ?", arguments: [id])
            }
            return runs
        }
    }
}

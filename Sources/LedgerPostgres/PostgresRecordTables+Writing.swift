import Ledger
import Postgres

/// Rows as another record has them, whatever their status.
extension PostgresRecordTables {
    func insert(_ deployment: Deployment) throws {
        let scope = deployment.scope
        try session.query(
            """
            INSERT INTO deployments (id, app, host, workspace, commit_id, subject, author, ref, previous_commit, trigger_name,
                attempt, series, status, settled, published, retry_at, warnings, started_at, completed_at, error_message,
                tasks_ran, tasks_skipped, tasks_failed, tasks_error, held, with_pre)
            VALUES ($1::bigint, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::integer, $12::bigint, $13, $14::boolean,
                $15::boolean, \(timestamp(16)), $17::integer, \(timestamp(18)), \(timestamp(19)), $20, $21::integer,
                $22::integer, $23::integer, $24, $25, $26::boolean)
            """,
            [
                .integer(deployment.id), .text(scope.app), .text(scope.host), .text(scope.workspace),
                .text(deployment.commit), .text(deployment.subject), .text(deployment.author),
                PostgresValue(deployment.ref), PostgresValue(deployment.previousCommit), .text(deployment.trigger),
                PostgresValue(deployment.attempt), .integer(deployment.series), .text(deployment.status.rawValue),
                .boolean(deployment.settled), .boolean(deployment.published), PostgresValue(deployment.retryAt),
                PostgresValue(deployment.warnings), PostgresValue(deployment.startedAt),
                PostgresValue(deployment.completedAt), PostgresValue(deployment.errorMessage),
            ] + PostgresLedger.values(deployment.tasks) + [
                PostgresValue(deployment.held), .boolean(deployment.withPre),
            ])
    }

    func insert(_ run: Run, failures: Int) throws {
        try session.query(
            """
            INSERT INTO runs (id, kind, name, parent, marker, command, folder, mode, timeout_ms, attempt, failures, status,
                exit_code, signal, started_at, completed_at, output_tail, error_message, scope, fence, adopted, digest,
                hook_commit)
            VALUES ($1::bigint, $2, $3, $4::bigint, $5, $6, $7, $8, $9::bigint, $10::integer, $11::integer, $12,
                $13::integer, $14::integer, \(timestamp(15)), \(timestamp(16)), $17, $18, $19, $20::bigint, $21::bigint,
                $22, $23)
            """,
            [
                .integer(run.id), .text(run.kind.rawValue), .text(run.name), .integer(run.parent), .text(run.marker),
                .text(run.command), .text(run.folder), .text(run.mode), .integer(run.timeout.wholeMilliseconds),
                PostgresValue(run.attempt), PostgresValue(failures), .text(run.status.rawValue),
                PostgresValue(run.exitCode), PostgresValue(run.signal), PostgresValue(run.startedAt),
                PostgresValue(run.completedAt), .text(run.outputTail), PostgresValue(run.errorMessage),
                .text(run.scope.rawValue), PostgresValue(run.fence), PostgresValue(run.adopted),
                PostgresValue(run.digest), PostgresValue(run.hookCommit),
            ])
    }

    func insert(_ notification: PendingNotification) throws {
        try session.query(
            """
            INSERT INTO notifications (id, deployment, attempts, created_at, due_at)
            VALUES ($1::bigint, $2::bigint, $3::integer, \(timestamp(4)), \(timestamp(5)))
            """,
            [
                .integer(notification.id), .integer(notification.deployment), PostgresValue(notification.attempts),
                PostgresValue(notification.createdAt), PostgresValue(notification.dueAt),
            ])
    }

    func adopt(marker: String, original: Int64) throws {
        try session.query(
            "UPDATE runs SET adopted = $2::bigint WHERE marker = $1 AND adopted = 0",
            [.text(marker), .integer(original)])
    }

    func remove(deployment id: Int64) throws {
        try session.query(
            "DELETE FROM runs WHERE kind \(RunKind.ofDeployments) AND parent = $1::bigint", [.integer(id)])
        try session.query("DELETE FROM notifications WHERE deployment = $1::bigint", [.integer(id)])
        try session.query("DELETE FROM deployments WHERE id = $1::bigint", [.integer(id)])
    }

    /// The sequences are set at once, whatever becomes of the transaction: then numbers are left out.
    func advance(to last: RecordIDs) throws {
        for (table, id) in [
            ("deployments", last.deployment), ("runs", last.run), ("notifications", last.notification),
        ] where id > 0 {
            try session.query(
                "SELECT setval(pg_get_serial_sequence('\(table)', 'id'), $1::bigint)", [.integer(id)])
        }
    }
}

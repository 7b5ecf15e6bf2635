import Ledger
import Postgres

/// Rows as another record has them, whatever their status.
extension PostgresRecordTables {
    func insert(_ deployment: Deployment) throws {
        try session.insert(DeploymentColumn.allCases) { deployment.value(of: $0) }
    }

    func insert(_ copied: CopiedRun) throws {
        try session.insert(RunColumn.allCases) { copied.run.value(of: $0, failures: copied.failures) }
        try PostgresLedger.keep(copied.outputTail, of: copied.run.id, session)
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
            "UPDATE runs SET adopted = $2::bigint WHERE marker = $1 AND is_adopted AND adopted IS NULL",
            [.text(marker), .integer(original)])
    }

    func remove(deployment id: Int64) throws { try PostgresLedger.delete(deployments: [id], session) }

    func remove(run id: Int64) throws { try PostgresLedger.delete(runs: "id = $1::bigint", [.integer(id)], session) }

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

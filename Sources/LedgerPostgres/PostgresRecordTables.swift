import Ledger
import Postgres

/// The tables of a schema within one transaction, as moving a record needs them.
struct PostgresRecordTables: RecordTables {
    let session: PostgresSession

    // MARK: - Reading a page

    func deployments(after id: Int64, limit: Int) throws -> [Deployment] {
        try session.query(
            "SELECT \(Deployment.columns) FROM deployments WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint",
            [.integer(id), PostgresValue(limit)]
        ).rows.map { try Deployment(row: $0) }
    }

    func runs(of deployments: ClosedRange<Int64>) throws -> [CopiedRun] {
        try copied(
            "\(RunParent.isDeployment) AND runs.parent BETWEEN $1::bigint AND $2::bigint ORDER BY runs.id",
            [.integer(deployments.lowerBound), .integer(deployments.upperBound)])
    }

    func runsAlone(after id: Int64, limit: Int) throws -> [CopiedRun] {
        try copied(
            "runs.parent IS NULL AND runs.id > $1::bigint ORDER BY runs.id LIMIT $2::bigint",
            [.integer(id), PostgresValue(limit)])
    }

    private func copied(_ condition: String, _ values: [PostgresValue]) throws -> [CopiedRun] {
        try session.query(
            """
            SELECT \(Run.columns), original.marker, run_outputs.tail FROM runs
            LEFT JOIN runs AS original ON original.id = runs.adopted
            LEFT JOIN run_outputs ON run_outputs.run = runs.id
            WHERE \(condition)
            """, values
        ).rows.map { try CopiedRun(row: $0) }
    }

    func notifications(of deployments: ClosedRange<Int64>) throws -> [PendingNotification] {
        try session.query(
            """
            SELECT \(PendingNotification.columns) FROM notifications WHERE deployment BETWEEN $1::bigint AND $2::bigint
            ORDER BY id
            """, [.integer(deployments.lowerBound), .integer(deployments.upperBound)]
        ).rows.map(PendingNotification.init(row:))
    }

    func before(_ deployment: Deployment) throws -> DeploymentKey? {
        try key("host = $1 AND workspace = $2 AND id < $3::bigint", place(deployment.scope) + [.integer(deployment.id)])
    }

    func earlierAttempt(_ deployment: Deployment) throws -> DeploymentKey? {
        try key(
            "series = $1::bigint AND id < $2::bigint", [.integer(deployment.series), .integer(deployment.id)])
    }

    private func key(_ condition: String, _ arguments: [PostgresValue]) throws -> DeploymentKey? {
        try session.query(
            "SELECT \(Deployment.columns) FROM deployments WHERE \(condition) ORDER BY id DESC LIMIT 1", arguments
        ).rows.first.map { try Deployment(row: $0).key }
    }

    func last() throws -> RecordIDs {
        func last(_ table: String) throws -> Int64 {
            // The sequence's own number is shown to those who may use it.
            try session.query(
                """
                SELECT greatest((SELECT max(id) FROM \(table)), (SELECT last_value FROM pg_sequences
                    WHERE format('%I.%I', schemaname, sequencename) = pg_get_serial_sequence('\(table)', 'id')), 0)
                """
            ).rows[0].get(0)
        }
        return RecordIDs(
            deployment: try last("deployments"), run: try last("runs"), notification: try last("notifications"))
    }

    // MARK: - Looking for what is there

    func find(_ key: DeploymentKey) throws -> KnownDeployment? {
        try session.query(
            """
            SELECT id, series, status = 'running' FROM deployments
            WHERE host = $1 AND app = $2 AND workspace = $3 AND commit_id = $4 AND attempt = $5::integer
            AND \(milliseconds("started_at")) = $6::bigint ORDER BY id LIMIT 1
            """,
            [
                .text(key.scope.host), .text(key.scope.app), .text(key.scope.workspace), .text(key.commit),
                PostgresValue(key.attempt), PostgresValue(key.startedAt),
            ]
        ).rows.first.map { row in
            KnownDeployment(id: try row.get(0), series: try row.get(1), isRunning: try row.get(2))
        }
    }

    func newest(_ scope: Scope, below id: Int64?) throws -> Int64? {
        try session.query(
            "SELECT max(id) FROM deployments WHERE host = $1 AND workspace = $2 AND id < $3::bigint",
            place(scope) + [.integer(id ?? .max)]
        ).rows[0].optional(0)
    }

    func firstLater(_ scope: Scope, than time: Timestamp, after id: Int64) throws -> Int64? {
        try session.query(
            """
            SELECT min(id) FROM deployments WHERE host = $1 AND workspace = $2 AND id > $3::bigint
            AND started_at > \(timestamp(4))
            """, place(scope) + [.integer(id), PostgresValue(time)]
        ).rows[0].optional(0)
    }

    func isUsed(deployment id: Int64) throws -> Bool {
        try exists("deployments WHERE id = $1::bigint", [.integer(id)])
            || exists("deployments WHERE series = $1::bigint", [.integer(id)])
    }

    func hasSeries(_ series: Int64, of deployment: Deployment) throws -> Bool {
        let scope = deployment.scope
        return try exists(
            "deployments WHERE series = $1::bigint AND host = $2 AND app = $3 AND workspace = $4 AND commit_id = $5",
            [.integer(series), .text(scope.host), .text(scope.app), .text(scope.workspace), .text(deployment.commit)])
    }

    func lastRun(_ scope: Scope, below deployment: Int64) throws -> Int64? {
        try session.query(
            """
            SELECT max(id) FROM runs WHERE \(RunParent.isDeployment) AND parent = (
                SELECT id FROM deployments WHERE host = $1 AND workspace = $2 AND id < $3::bigint
                AND EXISTS (SELECT 1 FROM runs WHERE \(RunParent.isDeployment) AND parent = deployments.id)
                ORDER BY id DESC LIMIT 1)
            """, place(scope) + [.integer(deployment)]
        ).rows[0].optional(0)
    }

    func isUsed(run id: Int64) throws -> Bool { try exists("runs WHERE id = $1::bigint", [.integer(id)]) }

    func isUsed(notification id: Int64) throws -> Bool {
        try exists("notifications WHERE id = $1::bigint", [.integer(id)])
    }

    func run(marker: String) throws -> Int64? {
        try session.query("SELECT min(id) FROM runs WHERE marker = $1", [.text(marker)]).rows[0].optional(0)
    }

    func newestAlone(_ place: Scope) throws -> Int64? {
        try session.query(
            "SELECT max(id) FROM runs WHERE host = $1 AND app = $2 AND workspace = $3 AND parent IS NULL",
            [.text(place.host), .text(place.app), .text(place.workspace)]
        ).rows[0].optional(0)
    }

    func isRunning(run id: Int64) throws -> Bool {
        try exists("runs WHERE id = $1::bigint AND status = 'running'", [.integer(id)])
    }

    private func exists(_ rows: String, _ arguments: [PostgresValue]) throws -> Bool {
        try session.query("SELECT EXISTS (SELECT 1 FROM \(rows))", arguments).rows[0].get(0)
    }

    private func place(_ scope: Scope) -> [PostgresValue] { [.text(scope.host), .text(scope.workspace)] }
}

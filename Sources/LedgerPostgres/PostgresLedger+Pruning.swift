public import Ledger
import Postgres

/// Retention: by one agent of the app at a time, a batch a transaction.
extension PostgresLedger {
    public func prune(_ scope: Scope, keep: Int, limit: Int) async throws -> [Int64] {
        try await work("write") { session in
            guard try Self.mayPrune(session, scope.app) else { return [] }
            let own: [PostgresValue] = [.text(scope.host), .text(scope.app), .text(scope.workspace)]
            let old = try session.query(
                """
                SELECT id FROM deployments
                WHERE host = $1 AND app = $2 AND workspace = $3 AND status <> 'running'
                AND id < (SELECT id FROM deployments WHERE host = $1 AND app = $2 AND workspace = $3
                    ORDER BY id DESC LIMIT 1 OFFSET $4::bigint)
                AND id <> coalesce((SELECT max(id) FROM deployments WHERE host = $1 AND app = $2 AND workspace = $3
                    AND status = 'succeeded'), 0)
                AND id <> coalesce((SELECT id FROM deployments WHERE host = $1 AND app = $2 AND workspace = $3
                    AND \(Deployment.counts) ORDER BY id DESC LIMIT 1), 0)
                ORDER BY id LIMIT $5::bigint
                """, own + [PostgresValue(max(keep, 1) - 1), PostgresValue(limit)]
            ).rows.map { try $0.get(0, as: Int64.self) }
            let runs = try Self.delete(deployments: old, session)
            try Self.pruneGone(session, app: scope.app, keep: keep, limit: limit)
            try Self.pruneOutcomes(session, app: scope.app)
            return try runs + Self.pruneAlone(scope, keep: keep, session)
        }
    }

    public func pruneDeferred(deployment: Int64, keep: Int) async throws -> [Int64] {
        try await work("write") { session in
            let deferred = "\(RunParent.isDeployment) AND parent = $1 AND kind = 'task' AND status = 'deferred'"
            return try Self.delete(
                runs: """
                    \(deferred) AND id <= (
                        SELECT id FROM runs WHERE \(deferred) ORDER BY id DESC LIMIT 1 OFFSET $2::bigint)
                    """, [PostgresValue(deployment), PostgresValue(keep)], session)
        }
    }

    public func pruneAlone(_ scope: Scope, keep: Int) async throws -> [Int64] {
        try await work("write") { session in try Self.pruneAlone(scope, keep: keep, session) }
    }

    private static func pruneAlone(_ scope: Scope, keep: Int, _ session: PostgresSession) throws -> [Int64] {
        let own = "host = $1 AND app = $2 AND workspace = $3 AND parent IS NULL"
        return try delete(
            runs: """
                \(own) AND status <> 'running' AND id < (
                    SELECT id FROM runs WHERE \(own) ORDER BY id DESC LIMIT 1 OFFSET $4::bigint)
                """,
            [.text(scope.host), .text(scope.app), .text(scope.workspace), PostgresValue(max(keep, 1) - 1)], session)
    }

    /// Takes the turn, until the end of the transaction; the lease's row stands for it, held only as long as it is locked.
    private static func mayPrune(_ session: PostgresSession, _ app: String) throws -> Bool {
        let key: [PostgresValue] = [.text(app), .text("retention")]
        try session.query("INSERT INTO leases (app, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", key)
        return try !session.query(
            "SELECT 1 FROM leases WHERE app = $1 AND name = $2 FOR UPDATE SKIP LOCKED", key
        ).rows.isEmpty
    }

    /// Of hosts that nobody has seen for a day the newest `keep` deployments together stay, and each one's last succeeded one
    /// and last one that counts for a week: where every restart makes a new host, each leaves a few for ever otherwise.
    private static func pruneGone(_ session: PostgresSession, app: String, keep: Int, limit: Int) throws {
        let gone = "agents.app = $1 AND agents.last_seen < clock_timestamp() - interval '1 day'"
        func theirs(_ table: String) -> String {
            "\(table).host = agents.host AND \(table).app = agents.app AND \(table).workspace = agents.workspace"
        }
        guard try !session.query("SELECT 1 FROM agents WHERE \(gone) LIMIT 1", [.text(app)]).rows.isEmpty else {
            return
        }
        // Longer than any outage in which a host keeps to itself what it has to tell.
        let lost = gone.replacing("1 day", with: "7 days")
        let message = "its host has not been seen for 7 days"
        try session.query(
            """
            UPDATE runs SET status = 'interrupted', completed_at = clock_timestamp(), error_message = $2
            FROM agents WHERE \(lost) AND \(theirs("runs")) AND runs.status = 'running'
            """, [.text(app), .text(message)])
        try session.query(
            """
            UPDATE deployments SET status = 'interrupted', completed_at = clock_timestamp(), error_message = $2
            FROM agents WHERE \(lost) AND \(theirs("deployments")) AND deployments.status = 'running'
            """, [.text(app), .text(message)])
        let old = try session.query(
            """
            SELECT deployments.id FROM agents JOIN deployments ON \(theirs("deployments")) WHERE \(gone)
            AND deployments.status <> 'running'
            AND deployments.id <> coalesce(
                (SELECT max(id) FROM deployments WHERE app = $1 AND status = 'succeeded'), 0)
            AND (agents.last_seen < clock_timestamp() - interval '7 days' OR deployments.id NOT IN (
                coalesce((SELECT max(id) FROM deployments WHERE \(theirs("deployments")) AND status = 'succeeded'), 0),
                coalesce((SELECT max(id) FROM deployments WHERE \(theirs("deployments")) AND \(Deployment.counts)), 0)))
            ORDER BY deployments.id DESC OFFSET $2::bigint LIMIT $3::bigint
            """, [.text(app), PostgresValue(max(keep, 1)), PostgresValue(limit)]
        ).rows.map { try $0.get(0, as: Int64.self) }
        _ = try delete(deployments: old, session)
        // As the deployments: what belongs to nothing goes with the host.
        _ = try delete(
            runs: """
                parent IS NULL AND status <> 'running'
                AND EXISTS (SELECT 1 FROM agents WHERE \(lost) AND \(theirs("runs")))
                """, [.text(app)], session)
        try session.query(
            """
            DELETE FROM agents WHERE app = $1 AND last_seen < clock_timestamp() - interval '30 days'
            AND NOT EXISTS (SELECT 1 FROM deployments WHERE \(theirs("deployments")))
            """, [.text(app)])
    }

    /// What came of a hook is remembered for longer than any deployment, not for ever; tasks are of no app, and stay.
    private static func pruneOutcomes(_ session: PostgresSession, app: String) throws {
        try session.query(
            """
            DELETE FROM outcomes WHERE app = $1 AND status <> 'running' AND (name, fence) IN (
                SELECT name, fence FROM (
                    SELECT name, fence, row_number() OVER (PARTITION BY name ORDER BY fence DESC) AS place
                    FROM outcomes WHERE app = $1) AS newest
                WHERE place > 10000)
            """, [.text(app)])
    }

    /// Deletes deployments with all that belongs to them.
    ///
    /// - Returns: the ids of their runs.
    @discardableResult
    static func delete(deployments: [Int64], _ session: PostgresSession) throws -> [Int64] {
        guard !deployments.isEmpty else { return [] }
        let ids = PostgresValue.text("{" + deployments.map(String.init).joined(separator: ",") + "}")
        let runs = try delete(runs: "\(RunParent.isDeployment) AND parent = ANY($1::bigint[])", [ids], session)
        try session.query("DELETE FROM notifications WHERE deployment = ANY($1::bigint[])", [ids])
        try session.query("DELETE FROM deployments WHERE id = ANY($1::bigint[])", [ids])
        return runs
    }

    /// Deletes runs with what they printed.
    ///
    /// - Parameter condition: which, in SQL.
    /// - Returns: their ids.
    @discardableResult
    static func delete(
        runs condition: String, _ values: [PostgresValue], _ session: PostgresSession
    ) throws -> [Int64] {
        try session.query(
            """
            WITH gone AS (DELETE FROM runs WHERE \(condition) RETURNING id),
            outputs AS (DELETE FROM run_outputs USING gone WHERE run_outputs.run = gone.id)
            SELECT id FROM gone ORDER BY id
            """, values
        ).rows.map { try $0.get(0, as: Int64.self) }
    }
}

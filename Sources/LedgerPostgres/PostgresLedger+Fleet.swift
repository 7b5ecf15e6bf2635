public import Ledger
import Postgres

/// The app's agents, as they show themselves.
extension PostgresLedger {
    public func note(_ presence: Presence) async throws -> String? {
        try await work("write") { session in
            try session.query(
                """
                WITH before AS (SELECT instance FROM agents WHERE app = $1 AND host = $2 AND workspace = $3)
                INSERT INTO agents AS known (app, host, workspace, instance, version, ref, target, target_since, outcome,
                    problem, interval_ms, is_stopping, last_seen)
                VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $7::text IS NULL THEN NULL ELSE clock_timestamp() END, $8, $9,
                    $10::bigint, $11::boolean, clock_timestamp())
                ON CONFLICT (app, host, workspace) DO UPDATE SET instance = excluded.instance, version = excluded.version,
                    ref = excluded.ref, target = coalesce(excluded.target, known.target),
                    target_since = CASE WHEN excluded.target IS NULL OR excluded.target = known.target
                        THEN known.target_since ELSE excluded.target_since END,
                    outcome = excluded.outcome, problem = excluded.problem, interval_ms = excluded.interval_ms,
                    is_stopping = excluded.is_stopping, last_seen = excluded.last_seen
                RETURNING (SELECT instance FROM before)
                """,
                [
                    .text(presence.scope.app), .text(presence.scope.host), .text(presence.scope.workspace),
                    .text(presence.instance), .text(presence.version), PostgresValue(presence.ref),
                    PostgresValue(presence.target), .text(presence.outcome), PostgresValue(presence.problem),
                    .integer(presence.interval.wholeMilliseconds), .boolean(presence.isStopping),
                ]
            ).rows[0].optional(0)
        }
    }

    public func fleet(app: String) async throws -> Fleet {
        try await work("read") { session in
            let rows = try session.query(
                """
                SELECT host, workspace, instance, version, ref, target, \(milliseconds("target_since")), outcome, problem,
                    interval_ms, is_stopping, \(milliseconds("last_seen")),
                    round(extract(epoch FROM clock_timestamp() - last_seen) * 1000)::bigint,
                    (SELECT commit_id FROM deployments WHERE deployments.host = agents.host
                        AND deployments.workspace = agents.workspace AND status = 'succeeded' ORDER BY id DESC LIMIT 1),
                    (SELECT id FROM deployments WHERE deployments.host = agents.host
                        AND deployments.workspace = agents.workspace ORDER BY id DESC LIMIT 1)
                FROM agents WHERE app = $1 ORDER BY last_seen DESC, host
                """, [.text(app)]
            ).rows
            let hosts = try rows.map { row in
                Fleet.Host(
                    presence: Presence(
                        scope: Scope(app: app, host: try row.get(0), workspace: try row.get(1)),
                        instance: try row.get(2), version: try row.get(3), ref: try row.optional(4),
                        target: try row.optional(5), outcome: try row.get(7), problem: try row.optional(8),
                        interval: .milliseconds(try row.get(9, as: Int64.self)), isStopping: try row.get(10)),
                    lastSeen: try row.time(11), unseenFor: .milliseconds(try row.get(12, as: Int64.self)),
                    targetSince: try row.optionalTime(6), commit: try row.optional(13),
                    lastDeployment: try row.optional(14, as: Int64.self).flatMap { id in
                        try session.query(
                            "SELECT \(Deployment.columns) FROM deployments WHERE id = $1::bigint", [.integer(id)]
                        ).rows.first.map { try Deployment(row: $0) }
                    })
            }
            return Fleet(hosts: hosts, leases: try Self.heldLeases(app: app, session))
        }
    }

    /// An app's, and those of all apps.
    static func heldLeases(app: String, _ session: PostgresSession) throws -> [HeldLease] {
        try session.query(
            """
            SELECT name, fence, host, commit_id, run, \(milliseconds("acquired_at")), \(millisecondsUntil("expires_at"))
            FROM leases WHERE app IN ($1, $2) AND holder IS NOT NULL ORDER BY name
            """, [.text(app), .text(Lease.allApps)]
        ).rows.map { row in
            HeldLease(
                name: try row.get(0), fence: try row.get(1), host: try row.get(2), commit: try row.get(3),
                run: try row.optional(4), acquiredAt: try row.time(5),
                remaining: .milliseconds(try row.get(6, as: Int64.self)))
        }
    }
}

public import Ledger
import Postgres

/// Moving what the hosts of a record share.
extension PostgresLedger: FleetRecord {
    public func fleetHooks(after key: FleetHook.Key?, limit: Int) async throws -> [FleetHook] {
        try await work("read") { session in
            let start = key ?? FleetHook.Key(app: "", name: "", commit: "")
            return try session.query(
                """
                SELECT app, fleet_hooks.name, commit_id, run, runs.marker, fleet_hooks.fence, fleet_hooks.status,
                    fleet_hooks.failures, \(milliseconds("retry_at"))
                FROM fleet_hooks LEFT JOIN runs ON runs.id = run
                WHERE (app, fleet_hooks.name, commit_id) > ($1, $2, $3)
                ORDER BY app, fleet_hooks.name, commit_id LIMIT $4::bigint
                """, [.text(start.app), .text(start.name), .text(start.commit), PostgresValue(limit)]
            ).rows.map { row in
                FleetHook(
                    key: .init(app: try row.get(0), name: try row.get(1), commit: try row.get(2)), run: try row.get(3),
                    marker: try row.optional(4), fence: try row.get(5), status: try row.get(6),
                    failures: try row.get(7), retryAt: try row.optionalTime(8))
            }
        }
    }

    public func insert(_ hooks: [FleetHook]) async throws {
        try await work("write") { session in
            let tables = PostgresRecordTables(session: session)
            for hook in hooks {
                // The number of a run that is not on record must not name another one.
                let run =
                    try hook.marker.flatMap { try tables.run(marker: $0) }
                    ?? (tables.isUsed(run: hook.run) ? 0 : hook.run)
                try session.query(
                    """
                    INSERT INTO fleet_hooks AS known (app, name, commit_id, run, fence, status, failures, retry_at)
                    VALUES ($1, $2, $3, $4::bigint, $5::bigint, $6, $7::integer, \(timestamp(8)))
                    ON CONFLICT (app, name, commit_id) DO UPDATE SET status = excluded.status,
                        failures = excluded.failures, retry_at = excluded.retry_at
                    WHERE known.status = 'running' AND known.run = excluded.run AND known.fence = excluded.fence
                    """,
                    [
                        .text(hook.key.app), .text(hook.key.name), .text(hook.key.commit), .integer(run),
                        .integer(hook.fence), .text(hook.status), PostgresValue(hook.failures),
                        PostgresValue(hook.retryAt),
                    ])
            }
        }
    }

    public func members() async throws -> FleetMembers {
        try await work("read") { session in
            let fences = try session.query("SELECT app, name, fence FROM leases ORDER BY app, name").rows.map { row in
                FleetMembers.Fence(app: try row.get(0), name: try row.get(1), number: try row.get(2))
            }
            let agents = try session.query(
                """
                SELECT app, host, workspace, instance, version, ref, target, outcome, problem, interval_ms, is_stopping,
                    \(milliseconds("target_since")), \(milliseconds("last_seen"))
                FROM agents ORDER BY app, host, workspace
                """
            ).rows.map { row in
                FleetMembers.Agent(
                    presence: Presence(
                        scope: Scope(app: try row.get(0), host: try row.get(1), workspace: try row.get(2)),
                        instance: try row.get(3), version: try row.get(4), ref: try row.optional(5),
                        target: try row.optional(6), outcome: try row.get(7), problem: try row.optional(8),
                        interval: .milliseconds(try row.get(9, as: Int64.self)), isStopping: try row.get(10)),
                    targetSince: try row.optionalTime(11), lastSeen: try row.time(12))
            }
            return FleetMembers(fences: fences, agents: agents)
        }
    }

    public func insert(_ members: FleetMembers) async throws {
        try await work("write") { session in
            // One that is held now stays: its holder would lose it in the middle of its run.
            for fence in members.fences {
                try session.query(
                    """
                    INSERT INTO leases AS known (app, name, fence) VALUES ($1, $2, $3::bigint)
                    ON CONFLICT (app, name) DO UPDATE SET fence = excluded.fence
                    WHERE known.fence < excluded.fence AND (known.holder IS NULL OR known.expires_at < clock_timestamp())
                    """, [.text(fence.app), .text(fence.name), .integer(fence.number)])
            }
            for agent in members.agents { try Self.insert(agent, session) }
        }
    }

    private static func insert(_ agent: FleetMembers.Agent, _ session: PostgresSession) throws {
        let presence = agent.presence
        try session.query(
            """
            INSERT INTO agents AS known (app, host, workspace, instance, version, ref, target, target_since, outcome,
                problem, interval_ms, is_stopping, last_seen)
            VALUES ($1, $2, $3, $4, $5, $6, $7, \(timestamp(8)), $9, $10, $11::bigint, $12::boolean, \(timestamp(13)))
            ON CONFLICT (app, host, workspace) DO UPDATE SET instance = excluded.instance, version = excluded.version,
                ref = excluded.ref, target = excluded.target, target_since = excluded.target_since,
                outcome = excluded.outcome, problem = excluded.problem, interval_ms = excluded.interval_ms,
                is_stopping = excluded.is_stopping, last_seen = excluded.last_seen
            WHERE known.last_seen < excluded.last_seen
            """,
            [
                .text(presence.scope.app), .text(presence.scope.host), .text(presence.scope.workspace),
                .text(presence.instance), .text(presence.version), PostgresValue(presence.ref),
                PostgresValue(presence.target), PostgresValue(agent.targetSince), .text(presence.outcome),
                PostgresValue(presence.problem), .integer(presence.interval.wholeMilliseconds),
                .boolean(presence.isStopping), PostgresValue(agent.lastSeen),
            ])
    }
}

public import Ledger
import Postgres

/// Moving what the hosts of a record share.
extension PostgresLedger {
    /// The outcomes with their runs' markers, as `outcome` reads them.
    static let selectOutcomes = """
        SELECT outcomes.app, outcomes.name, commit_id, run, runs.marker, outcomes.fence, outcomes.status, outcomes.failures,
            \(milliseconds("retry_at")), attempts, outcomes.digest, by_app, outcomes.host, at_commit
        FROM outcomes LEFT JOIN runs ON runs.id = run
        """

    static func outcome(_ row: PostgresRow) throws -> Outcome {
        Outcome(
            key: .init(app: try row.get(0), name: try row.get(1), commit: try row.get(2)), run: try row.optional(3),
            marker: try row.optional(4), fence: try row.get(5), status: try row.get(6), failures: try row.get(7),
            retryAt: try row.optionalTime(8),
            attempt: .init(
                number: try row.get(9), digest: try row.optional(10), app: try row.optional(11),
                host: try row.optional(12), commit: try row.optional(13)))
    }

    public func outcomes(after key: Outcome.Key?, limit: Int) async throws -> [Outcome] {
        try await work("read") { session in
            let start = key ?? Outcome.Key(app: "", name: "", commit: "")
            return try session.query(
                """
                \(Self.selectOutcomes) WHERE (outcomes.app, outcomes.name, commit_id) > ($1, $2, $3)
                ORDER BY outcomes.app, outcomes.name, commit_id LIMIT $4::bigint
                """, start.values + [PostgresValue(limit)]
            ).rows.map(Self.outcome)
        }
    }

    public func insert(_ outcomes: [Outcome]) async throws {
        try await work("write") { session in
            let tables = PostgresRecordTables(session: session)
            for outcome in outcomes {
                // The number of a run that is not on record must not name another one.
                let run =
                    try outcome.marker.flatMap { try tables.run(marker: $0) }
                    ?? outcome.run.flatMap { try tables.isUsed(run: $0) ? nil : $0 }
                let attempt = outcome.attempt
                try session.query(
                    """
                    INSERT INTO outcomes AS known (app, name, commit_id, run, fence, status, failures, retry_at, attempts,
                        digest, by_app, host, at_commit)
                    VALUES ($1, $2, $3, $4::bigint, $5::bigint, $6, $7::integer, \(timestamp(8)), $9::integer, $10, $11, $12,
                        $13)
                    ON CONFLICT (app, name, commit_id) DO UPDATE SET status = excluded.status,
                        failures = excluded.failures, retry_at = excluded.retry_at
                    WHERE known.status = 'running' AND known.run IS NOT DISTINCT FROM excluded.run AND known.fence = excluded.fence
                    """,
                    outcome.key.values + [
                        PostgresValue(run), .integer(outcome.fence), .text(outcome.status),
                        PostgresValue(outcome.failures), PostgresValue(outcome.retryAt), PostgresValue(attempt.number),
                        PostgresValue(attempt.digest),
                        PostgresValue(attempt.app), PostgresValue(attempt.host), PostgresValue(attempt.commit),
                    ])
            }
        }
    }

    public func doneTasks(after id: String?, limit: Int) async throws -> [DoneTask] {
        let tasks = tasks
        return try await work("read") { session in
            guard try tasks.exists(session) else { return [] }
            // By bytes, whatever order the table's own collation has.
            return try session.query(
                """
                SELECT id, CASE WHEN completed_at IS NOT NULL THEN \(milliseconds("completed_at")) END, result
                FROM \(tasks.name) WHERE $1::text IS NULL OR id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT $2::bigint
                """, [PostgresValue(id), PostgresValue(limit)]
            ).rows.map { row in
                DoneTask(id: try row.get(0), completedAt: try row.optionalTime(1), result: try row.optional(2))
            }
        }
    }

    public func insert(_ done: [DoneTask]) async throws {
        let tasks = tasks
        try await work("write") { session in
            try tasks.prepare(session)
            for task in done { try tasks.write(task, session) }
        }
    }

    public func taskActions(
        after number: Int64, limit: Int
    ) async throws -> [(number: Int64, action: TaskAction)] {
        try await work("read") { session in
            try Self.actions("id > $1::bigint", [.integer(number)], "LIMIT \(limit)", session)
        }
    }

    public func insert(_ actions: [TaskAction]) async throws {
        try await work("write") { session in
            for action in actions {
                let known = try Self.actions(
                    "app = $1 AND task = $2 AND acted_at = \(timestamp(3))",
                    [.text(action.app), .text(action.task), PostgresValue(action.at)], "", session)
                if !known.contains(where: { $0.action == action }) { try Self.insert(action, session) }
            }
        }
    }

    public func members() async throws -> RecordMembers {
        try await work("read") { session in
            let fences = try session.query("SELECT app, name, fence FROM leases ORDER BY app, name").rows.map { row in
                RecordMembers.Fence(app: try row.get(0), name: try row.get(1), number: try row.get(2))
            }
            let agents = try session.query(
                """
                SELECT app, host, workspace, instance, version, ref, target, outcome, problem, interval_ms, is_stopping,
                    \(milliseconds("target_since")), \(milliseconds("last_seen"))
                FROM agents ORDER BY app, host, workspace
                """
            ).rows.map { row in
                RecordMembers.Agent(
                    presence: Presence(
                        scope: Scope(app: try row.get(0), host: try row.get(1), workspace: try row.get(2)),
                        instance: try row.get(3), version: try row.get(4), ref: try row.optional(5),
                        target: try row.optional(6), outcome: try row.get(7), problem: try row.optional(8),
                        interval: .milliseconds(try row.get(9, as: Int64.self)), isStopping: try row.get(10)),
                    targetSince: try row.optionalTime(11), lastSeen: try row.time(12))
            }
            return RecordMembers(fences: fences, agents: agents)
        }
    }

    public func insert(_ members: RecordMembers) async throws {
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

    private static func insert(_ agent: RecordMembers.Agent, _ session: PostgresSession) throws {
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

public import Ledger
import Postgres

/// One-time tasks.
extension PostgresLedger {
    public func toDo(_ entries: [TaskEntry], app: String) async throws -> [TaskToDo] {
        let tasks = tasks
        return try await work("read") { session in
            try tasks.prepare(session)
            // The planner takes what it cannot see for a hundred rows, and would look up each of thousands by itself.
            if entries.count > 500 { try session.query("SET LOCAL enable_nestloop TO off") }
            return try session.query(
                """
                SELECT entry.key, done.completed_at IS NOT NULL,
                    CASE WHEN done.completed_at IS NOT NULL THEN nullif(outcomes.by_app, $4) END
                FROM json_each_text($1::json) AS entry
                LEFT JOIN \(tasks.name) AS done ON done.id = entry.key
                LEFT JOIN outcomes ON outcomes.app = $2 AND outcomes.name = $3 || entry.key AND outcomes.commit_id = ''
                WHERE done.completed_at IS NULL OR outcomes.digest <> entry.value OR outcomes.by_app <> $4
                """, [.text(entries.json), .text(Lease.allApps), .text(Lease.task("")), .text(app)]
            ).rows.map { row in TaskToDo(id: try row.get(0), isDone: try row.get(1), otherApp: try row.optional(2)) }
        }
    }

    public func tasks() async throws -> [TaskRecord] {
        let tasks = tasks
        return try await work("read") { session in
            var known: [String: TaskRecord] = [:]
            if try tasks.exists(session) {
                for row in try session.query(
                    "SELECT id, completed_at IS NOT NULL, \(milliseconds("completed_at")), result FROM \(tasks.name)"
                ).rows {
                    let id = try row.get(0, as: String.self)
                    known[id] = TaskRecord(
                        id: id, isDone: try row.get(1), completedAt: try row.optionalTime(2),
                        result: try row.optional(3))
                }
            }
            let prefix = Lease.task("")
            let last = try session.query(
                """
                SELECT \(Run.columns) FROM runs WHERE kind = 'task' AND id IN
                (SELECT run FROM outcomes WHERE app = $1 AND starts_with(name, $2) AND commit_id = '')
                """, [.text(Lease.allApps), .text(prefix)]
            ).rows.map { try Run(row: $0) }
            let runs = Dictionary(uniqueKeysWithValues: last.map { ($0.id, $0) })
            for row in try session.query(
                "\(Self.selectOutcomes) WHERE outcomes.app = $1 AND starts_with(outcomes.name, $2) AND commit_id = ''",
                [.text(Lease.allApps), .text(prefix)]
            ).rows {
                let outcome = try Self.outcome(row)
                let id = String(outcome.key.name.dropFirst(prefix.count))
                known[id, default: TaskRecord(id: id)].outcome = outcome
                known[id]?.run = outcome.run.flatMap { runs[$0] }
            }
            for lease in try Self.heldLeases(app: Lease.allApps, session) where lease.remaining > .zero {
                guard lease.name.hasPrefix(prefix) else { continue }
                known[String(lease.name.dropFirst(prefix.count))]?.held = lease
            }
            for (_, action) in try Self.actions("TRUE", [], "DESC LIMIT 10000", session) {
                known[action.task, default: TaskRecord(id: action.task)].actions.append(action)
            }
            return known.values.sorted { $0.id < $1.id }
        }
    }

    public func record(_ action: TaskAction) async throws -> HeldBy? {
        let tasks = tasks
        return try await work("write") { session in
            try tasks.prepare(session)
            let key: [PostgresValue] = [.text(Lease.allApps), .text(Lease.task(action.task))]
            if action.name != .run, let held = try Self.held(key, session) { return held }
            switch action.name {
            case .run: break
            case .done:
                try tasks.write(
                    DoneTask(id: action.task, completedAt: action.at, result: DoneTask.succeeded), session)
                try session.query(
                    """
                    INSERT INTO outcomes (app, name, commit_id, run, fence, status, digest, by_app)
                    VALUES ($1, $2, '', NULL, 0, 'succeeded', $3, $4)
                    ON CONFLICT (app, name, commit_id) DO UPDATE
                    SET run = NULL, status = 'succeeded', retry_at = NULL, digest = excluded.digest, by_app = excluded.by_app,
                        host = NULL, at_commit = NULL
                    """, key + [PostgresValue(action.digest), .text(action.app)])
            case .retry:
                try session.query(
                    "UPDATE outcomes SET status = 'due', retry_at = NULL WHERE app = $1 AND name = $2 AND commit_id = ''",
                    key)
            case .reset:
                try tasks.remove(action.task, session)
                try session.query("DELETE FROM outcomes WHERE app = $1 AND name = $2 AND commit_id = ''", key)
            }
            try Self.insert(action, session)
            return nil
        }
    }

    /// Who holds the lease, which stays locked: nobody takes it until the end of the transaction.
    private static func held(_ key: [PostgresValue], _ session: PostgresSession) throws -> HeldBy? {
        try session.query("INSERT INTO leases (app, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", key)
        let row = try session.query(
            """
            SELECT run, host, commit_id, \(millisecondsUntil("expires_at")) FROM leases
            WHERE app = $1 AND name = $2 AND holder IS NOT NULL AND expires_at > clock_timestamp() FOR UPDATE
            """, key
        ).rows.first
        guard let row else {
            try session.query("SELECT 1 FROM leases WHERE app = $1 AND name = $2 FOR UPDATE", key)
            return nil
        }
        return HeldBy(
            run: try row.optional(0), host: try row.get(1), commit: try row.get(2),
            expiresIn: .milliseconds(try row.get(3, as: Int64.self)), hosts: 1)
    }

    static func insert(_ action: TaskAction, _ session: PostgresSession) throws {
        try session.query(
            """
            INSERT INTO task_actions (app, task, action, digest, user_name, host, acted_at)
            VALUES ($1, $2, $3, $4, $5, $6, \(timestamp(7)))
            """,
            [
                .text(action.app), .text(action.task), .text(action.name.rawValue), PostgresValue(action.digest),
                .text(action.user), .text(action.host), PostgresValue(action.at),
            ])
    }

    static func actions(
        _ condition: String, _ values: [PostgresValue], _ rest: String, _ session: PostgresSession
    ) throws -> [(number: Int64, action: TaskAction)] {
        try session.query(
            """
            SELECT id, app, task, action, digest, user_name, host, \(milliseconds("acted_at")) FROM task_actions
            WHERE \(condition) ORDER BY id \(rest)
            """, values
        ).rows.compactMap { row in
            guard let name = TaskAction.Name(rawValue: try row.get(3)) else { return nil }
            return (
                try row.get(0),
                TaskAction(
                    name, app: try row.get(1), task: try row.get(2), digest: try row.optional(4), user: try row.get(5),
                    host: try row.get(6), at: try row.time(7))
            )
        }
    }
}

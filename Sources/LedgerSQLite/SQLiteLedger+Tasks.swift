import GRDB
public import Ledger

/// One-time tasks.
extension SQLiteLedger {
    /// Of times as anybody may have written them: milliseconds since 1970, or nothing where they cannot be read.
    private static let completedAt = "CAST(round((julianday(completed_at) - 2440587.5) * 86400000) AS INTEGER)"

    public func toDo(_ entries: [TaskEntry], app: String) async throws -> [TaskToDo] {
        let path = path
        return try await read { db in
            guard try Self.tasksTableExists(db, path) else {
                return entries.map { TaskToDo(id: $0.id, isDone: false) }
            }
            return try Row.fetchAll(
                db,
                sql: """
                    SELECT entry.key, done.completed_at IS NOT NULL,
                        CASE WHEN done.completed_at IS NOT NULL THEN nullif(outcomes.by_app, ?4) END
                    FROM json_each(?1) AS entry
                    LEFT JOIN deploy_tasks AS done ON done.id = entry.key
                    LEFT JOIN outcomes ON outcomes.app = ?2 AND outcomes.name = ?3 || entry.key AND outcomes.commit_id = ''
                    WHERE done.completed_at IS NULL OR outcomes.digest <> entry.value OR outcomes.by_app <> ?4
                    """, arguments: [entries.json, Lease.allApps, Lease.task(""), app]
            ).map { TaskToDo(id: $0[0], isDone: $0[1], otherApp: $0[2]) }
        }
    }

    public func tasks() async throws -> [TaskRecord] {
        let path = path
        return try await read { db in
            var known: [String: TaskRecord] = [:]
            if try Self.tasksTableExists(db, path) {
                for row in try Row.fetchAll(
                    db, sql: "SELECT id, completed_at IS NOT NULL, \(Self.completedAt), result FROM deploy_tasks")
                {
                    known[row[0]] = TaskRecord(
                        id: row[0], isDone: row[1],
                        completedAt: (row[2] as Int64?).map(Timestamp.init(milliseconds:)), result: row[3])
                }
            }
            let prefix = Lease.task("")
            let last = try Row.fetchAll(
                db,
                sql: """
                    SELECT \(Run.columns) FROM runs WHERE kind = 'task' AND id IN
                    (SELECT run FROM outcomes WHERE app = ? AND substr(name, 1, ?) = ? AND commit_id = '')
                    """, arguments: [Lease.allApps, prefix.count, prefix]
            ).map { try Run(row: $0) }
            let runs = Dictionary(uniqueKeysWithValues: last.map { ($0.id, $0) })
            for row in try Row.fetchAll(
                db,
                sql:
                    "\(Self.selectOutcomes) WHERE outcomes.app = ? AND substr(outcomes.name, 1, ?) = ? AND commit_id = ''",
                arguments: [Lease.allApps, prefix.count, prefix])
            {
                let outcome = Self.outcome(row)
                let id = String(outcome.key.name.dropFirst(prefix.count))
                known[id, default: TaskRecord(id: id)].outcome = outcome
                known[id]?.run = outcome.run.flatMap { runs[$0] }
            }
            for lease in try Self.heldLeases(db) where lease.name.hasPrefix(prefix) {
                known[String(lease.name.dropFirst(prefix.count))]?.held = lease
            }
            for (_, action) in try Self.actions("TRUE", [], "DESC LIMIT 10000", db) {
                known[action.task, default: TaskRecord(id: action.task)].actions.append(action)
            }
            return known.values.sorted { $0.id < $1.id }
        }
    }

    /// Those of tasks that have not expired.
    private static func heldLeases(_ db: Database) throws -> [HeldLease] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT name, fence, host, commit_id, run, acquired_at, expires_at, boot FROM leases
                WHERE app = ? AND holder IS NOT NULL ORDER BY name
                """, arguments: [Lease.allApps]
        ).compactMap { row in
            LeaseClock.remaining(until: row[6], boot: row[7]).map { remaining in
                HeldLease(
                    name: row[0], fence: row[1], host: row[2], commit: row[3], run: row[4],
                    acquiredAt: Timestamp(milliseconds: row[5]), remaining: remaining)
            }
        }
    }

    public func record(_ action: TaskAction) async throws -> HeldBy? {
        try await write { db in
            try Self.prepareTasks(db)
            let work = Lease.task(action.task)
            if action.name != .run, let held = try Self.heldLeases(db).first(where: { $0.name == work }) {
                return HeldBy(
                    run: held.run, host: held.host, commit: held.commit, expiresIn: held.remaining, hosts: 1)
            }
            let key: StatementArguments = [Lease.allApps, work]
            switch action.name {
            case .run: break
            case .done:
                try Self.write(
                    DoneTask(id: action.task, completedAt: action.at, result: DoneTask.succeeded), db)
                try db.execute(
                    sql: """
                        INSERT INTO outcomes (app, name, commit_id, run, fence, status, digest, by_app)
                        VALUES (?, ?, '', NULL, 0, 'succeeded', ?, ?)
                        ON CONFLICT (app, name, commit_id) DO UPDATE
                        SET run = NULL, status = 'succeeded', retry_at = NULL, digest = excluded.digest,
                            by_app = excluded.by_app, host = NULL, at_commit = NULL
                        """, arguments: key + [action.digest, action.app])
            case .retry:
                try db.execute(
                    sql:
                        "UPDATE outcomes SET status = 'due', retry_at = NULL WHERE app = ? AND name = ? AND commit_id = ''",
                    arguments: key)
            case .reset:
                try db.execute(sql: "DELETE FROM deploy_tasks WHERE id = ?", arguments: [action.task])
                try db.execute(
                    sql: "DELETE FROM outcomes WHERE app = ? AND name = ? AND commit_id = ''", arguments: key)
            }
            try Self.insert(action, db)
            return nil
        }
    }

    static func insert(_ action: TaskAction, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO task_actions (app, task, action, digest, user_name, host, acted_at) VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                action.app, action.task, action.name.rawValue, action.digest, action.user, action.host,
                action.at.milliseconds,
            ])
    }

    static func actions(
        _ condition: String, _ arguments: StatementArguments, _ rest: String, _ db: Database
    ) throws -> [(number: Int64, action: TaskAction)] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT id, app, task, action, digest, user_name, host, acted_at FROM task_actions
                WHERE \(condition) ORDER BY id \(rest)
                """, arguments: arguments
        ).compactMap { row in
            guard let name = TaskAction.Name(rawValue: row[3]) else { return nil }
            return (
                row[0],
                TaskAction(
                    name, app: row[1], task: row[2], digest: row[4], user: row[5], host: row[6],
                    at: Timestamp(milliseconds: row[7]))
            )
        }
    }

    public func doneTasks(after id: String?, limit: Int) async throws -> [DoneTask] {
        let path = path
        return try await read { db in
            guard try Self.tasksTableExists(db, path) else { return [] }
            return try Row.fetchAll(
                db,
                sql: """
                    SELECT id, completed_at IS NOT NULL, \(Self.completedAt), result FROM deploy_tasks
                    WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2
                    """, arguments: [id, limit]
            ).map { row in
                // A time in a form of its own says that it is done; when, nobody can tell.
                let time = (row[2] as Int64?).map(Timestamp.init(milliseconds:))
                return DoneTask(id: row[0], completedAt: time ?? ((row[1] as Bool) ? .now : nil), result: row[3])
            }
        }
    }

    public func insert(_ tasks: [DoneTask]) async throws {
        try await write { db in
            try Self.prepareTasks(db)
            for task in tasks { try Self.write(task, db) }
        }
    }

    public func taskActions(
        after number: Int64, limit: Int
    ) async throws -> [(number: Int64, action: TaskAction)] {
        try await read { db in try Self.actions("id > ?", [number], "LIMIT \(limit)", db) }
    }

    public func insert(_ actions: [TaskAction]) async throws {
        try await write { db in
            for action in actions {
                let known = try Self.actions(
                    "app = ? AND task = ? AND acted_at = ?", [action.app, action.task, action.at.milliseconds], "", db)
                if !known.contains(where: { $0.action == action }) { try Self.insert(action, db) }
            }
        }
    }
}

import GRDB
public import Ledger

/// Moving what is done once.
extension SQLiteLedger {
    /// The outcomes with their runs' markers, as `outcome` reads them.
    static let selectOutcomes = """
        SELECT outcomes.app, outcomes.name, commit_id, run, runs.marker, outcomes.fence, outcomes.status, outcomes.failures,
            retry_at, attempts, outcomes.digest, by_app, outcomes.host, at_commit
        FROM outcomes LEFT JOIN runs ON runs.id = run
        """

    static func outcome(_ row: Row) -> Outcome {
        Outcome(
            key: .init(app: row[0], name: row[1], commit: row[2]), run: row[3], marker: row[4], fence: row[5],
            status: row[6], failures: row[7], retryAt: (row[8] as Int64?).map(Timestamp.init(milliseconds:)),
            attempt: .init(number: row[9], digest: row[10], app: row[11], host: row[12], commit: row[13]))
    }

    public func outcomes(after key: Outcome.Key?, limit: Int) async throws -> [Outcome] {
        try await read { db in
            let start = key ?? Outcome.Key(app: "", name: "", commit: "")
            return try Row.fetchAll(
                db,
                sql: """
                    \(Self.selectOutcomes) WHERE (outcomes.app, outcomes.name, commit_id) > (?, ?, ?)
                    ORDER BY outcomes.app, outcomes.name, commit_id LIMIT ?
                    """, arguments: start.arguments + [limit]
            ).map(Self.outcome)
        }
    }

    public func insert(_ outcomes: [Outcome]) async throws {
        try await write { db in
            let tables = SQLiteRecordTables(db: db)
            for outcome in outcomes {
                // The number of a run that is not on record must not name another one.
                let run =
                    try outcome.marker.flatMap { try tables.run(marker: $0) }
                    ?? outcome.run.flatMap { try tables.isUsed(run: $0) ? nil : $0 }
                let attempt = outcome.attempt
                try db.execute(
                    sql: """
                        INSERT INTO outcomes (app, name, commit_id, run, fence, status, failures, retry_at, attempts, digest,
                            by_app, host, at_commit)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                        ON CONFLICT (app, name, commit_id) DO UPDATE SET status = excluded.status,
                            failures = excluded.failures, retry_at = excluded.retry_at
                        WHERE status = 'running' AND run IS excluded.run AND fence = excluded.fence
                        """,
                    arguments: outcome.key.arguments + [
                        run, outcome.fence, outcome.status, outcome.failures, outcome.retryAt?.milliseconds,
                        attempt.number, attempt.digest, attempt.app, attempt.host, attempt.commit,
                    ])
            }
        }
    }

    public func members() async throws -> RecordMembers {
        try await read { db in
            let fences = try Row.fetchAll(db, sql: "SELECT app, name, fence FROM leases ORDER BY app, name").map {
                RecordMembers.Fence(app: $0[0], name: $0[1], number: $0[2])
            }
            return RecordMembers(fences: fences, agents: [])
        }
    }

    public func insert(_ members: RecordMembers) async throws {
        try await write { db in
            // One that is held now stays: its holder would lose it in the middle of its run.
            for fence in members.fences {
                try db.execute(
                    sql: """
                        INSERT INTO leases (app, name, fence) VALUES (?, ?, ?)
                        ON CONFLICT (app, name) DO UPDATE SET fence = excluded.fence
                        WHERE fence < excluded.fence AND (holder IS NULL OR boot IS NOT ? OR expires_at < ?)
                        """, arguments: [fence.app, fence.name, fence.number, LeaseClock.boot, LeaseClock.now])
            }
        }
    }
}

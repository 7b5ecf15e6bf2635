public import Ledger
import Postgres

/// What a deployment writes while it goes on, and what becomes of it later.
extension PostgresLedger {
    public func begin(
        _ draft: DeploymentDraft, firstRun: (@Sendable (Int64) -> RunDraft)?
    ) async throws -> (deployment: Deployment, run: Run?) {
        try await work("write") { session in
            var deployment = Deployment(id: 0, draft: draft)
            deployment.id = try session.query("SELECT nextval(pg_get_serial_sequence('deployments', 'id'))")
                .rows[0].get(0)
            try session.insert(DeploymentColumn.allCases) { deployment.value(of: $0) }
            return (deployment, try firstRun.map { try Self.insert($0(deployment.id), session) })
        }
    }

    @discardableResult
    public func write(_ entries: [LedgerEntry]) async throws -> [Run] {
        do {
            return try await writeAsTheyAre(entries)
        } catch let error as LedgerError where error.code == .refused {
            return try await writeAsTheyAre(entries.map(\.withoutText))
        }
    }

    private func writeAsTheyAre(_ entries: [LedgerEntry]) async throws -> [Run] {
        try await work("write") { session in
            var begun: [Run] = []
            for entry in entries {
                if let run = try Self.write(entry, session) { begun.append(run) }
            }
            return begun
        }
    }

    /// - Returns: the run that begins with the entry.
    private static func write(_ entry: LedgerEntry, _ session: PostgresSession) throws -> Run? {
        switch entry {
        case .beginRun(let draft):
            return try insert(draft, session)
        case .adoptRun(let draft, let original, let end):
            let run = try insert(draft, session)
            try session.query(
                "UPDATE runs SET is_adopted = TRUE, adopted = $2::bigint WHERE id = $1::bigint",
                [.integer(run.id), PostgresValue(original)])
            try complete(run.id, RunResult(end), session)
        case .completeRun(let id, let result):
            try complete(id, result, session)
        case .abandonRun(let id, let result):
            // The lease before the run, as a claim takes them.
            try session.query("SELECT 1 FROM leases WHERE run = $1::bigint FOR UPDATE", [.integer(id)])
            guard try complete(id, result, session) else { break }
            // Its agent is gone and so are its processes: whoever waits need not wait for the lease to run out.
            try session.query(
                "UPDATE leases SET expires_at = clock_timestamp() WHERE run = $1::bigint AND holder IS NOT NULL",
                [.integer(id)])
        case .publish(let deployment):
            try session.query(
                "UPDATE deployments SET published = TRUE WHERE id = $1::bigint", [.integer(deployment)])
        case .unpublish(let deployment):
            try session.query(
                "UPDATE deployments SET published = FALSE WHERE id = $1::bigint", [.integer(deployment)])
        case .completeDeployment(let id, let result):
            try session.query(
                """
                UPDATE deployments SET status = $2, settled = $3::boolean, retry_at = \(timestamp(4)),
                    warnings = $5::integer, completed_at = \(timestamp(6)), error_message = $7,
                    tasks_ran = $8::integer, tasks_skipped = $9::integer, tasks_failed = $10::integer, tasks_error = $11
                WHERE id = $1::bigint AND status = 'running'
                """,
                [
                    .integer(id), .text(result.status.rawValue), .boolean(result.settled),
                    PostgresValue(result.retryAt), PostgresValue(result.warnings), PostgresValue(result.completedAt),
                    PostgresValue(result.errorMessage),
                ] + values(result.tasks))
        case .settle(let deployment):
            try session.query(
                """
                UPDATE deployments SET settled = TRUE, retry_at = NULL
                WHERE id = $1::bigint AND status = 'failed'
                """, [.integer(deployment)])
        case .notify(let deployment, let time):
            try session.query(
                """
                INSERT INTO notifications (deployment, created_at, due_at) SELECT $1::bigint, \(timestamp(2)), \(timestamp(2))
                WHERE NOT EXISTS (SELECT 1 FROM notifications WHERE deployment = $1::bigint)
                """, [.integer(deployment), PostgresValue(time)])
        case .removeNotification(let id):
            try session.query("DELETE FROM notifications WHERE id = $1::bigint", [.integer(id)])
        case .postponeNotification(let id, let time):
            try session.query(
                "UPDATE notifications SET attempts = attempts + 1, due_at = \(timestamp(2)) WHERE id = $1::bigint",
                [.integer(id), PostgresValue(time)])
        }
        return nil
    }

    static func values(_ tasks: TaskCounts?) -> [PostgresValue] {
        [
            PostgresValue(tasks?.ran), PostgresValue(tasks?.skipped), PostgresValue(tasks?.failed),
            PostgresValue(tasks?.error),
        ]
    }

    /// - Parameter evenInterrupted: also where somebody has it as interrupted.
    /// - Returns: whether it had not ended before.
    @discardableResult
    static func complete(
        _ id: Int64, _ result: RunResult, _ session: PostgresSession, evenInterrupted: Bool = false
    ) throws -> Bool {
        let open = evenInterrupted ? "IN ('running', 'interrupted')" : "= 'running'"
        let changed = try session.query(
            """
            UPDATE runs SET status = $2, exit_code = $3::integer, signal = $4::integer, completed_at = \(timestamp(5)),
                error_message = $6 WHERE id = $1::bigint AND status \(open)
            """,
            [
                .integer(id), .text(result.status.rawValue), PostgresValue(result.exitCode),
                PostgresValue(result.signal), PostgresValue(result.completedAt), PostgresValue(result.errorMessage),
            ]
        ).affected
        guard changed > 0 else { return false }
        try keep(result.outputTail, of: id, session)
        try countFailures(session, run: id, result.status)
        return true
    }

    /// Keeps the end of what a run printed, where it printed something.
    static func keep(_ tail: String, of run: Int64, _ session: PostgresSession) throws {
        guard !tail.isEmpty else {
            try session.query("DELETE FROM run_outputs WHERE run = $1::bigint", [.integer(run)])
            return
        }
        try session.query(
            """
            INSERT INTO run_outputs (run, tail) VALUES ($1::bigint, $2)
            ON CONFLICT (run) DO UPDATE SET tail = excluded.tail
            """, [.integer(run), .text(tail)])
    }

    private static func countFailures(_ session: PostgresSession, run: Int64, _ status: RunStatus) throws {
        guard
            let row = try session.query(
                """
                SELECT deployments.series, runs.name FROM runs
                JOIN deployments ON \(RunParent.isDeployment) AND runs.parent = deployments.id
                WHERE runs.id = $1::bigint AND runs.kind = 'hook'
                """, [.integer(run)]
            ).rows.first
        else { return }
        let before = try failures(session, series: row.get(0), name: row.get(1))
        let now = before + (status.isFailure ? 1 : 0)
        try session.query(
            "UPDATE runs SET failures = $2::integer WHERE id = $1::bigint", [.integer(run), PostgresValue(now)])
    }

    /// Begins the run, or finds it where an earlier attempt to write it did take effect: whether a commit did, whose answer
    /// was lost, nobody knows.
    static func insert(_ draft: RunDraft, fence: Int64? = nil, _ session: PostgresSession) throws -> Run {
        let found = try session.query("SELECT \(Run.columns) FROM runs WHERE marker = $1", [.text(draft.marker)])
        if let row = found.rows.first { return try Run(row: row) }
        var run = Run(id: 0, draft: draft, fence: fence)
        run.id = try session.insert(RunColumn.allCases.filter { $0 != .id }) { run.value(of: $0) }
        return run
    }

    public func releaseHold(_ deployment: Int64) async throws {
        try await work("write") { session in
            _ = try session.query("UPDATE deployments SET held = NULL WHERE id = $1::bigint", [.integer(deployment)])
        }
    }

    public func makeDue(_ deployment: Int64) async throws {
        try await work("write") { session in
            _ = try session.query(
                """
                UPDATE deployments SET settled = FALSE, retry_at = NULL
                WHERE id = $1::bigint AND status <> 'succeeded'
                """, [.integer(deployment)])
            try Self.makeFleetDue(deployment, session)
        }
    }
}

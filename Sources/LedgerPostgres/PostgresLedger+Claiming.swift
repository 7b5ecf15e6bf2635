public import Ledger
import Postgres

/// Which host does what is done once for all of them.
///
/// A lease's row is locked while it is decided who gets it, and every change of a run under it first looks whether its number
/// is still the current one: the server is the referee, and its clock says when a lease is over.
extension PostgresLedger {
    public func claim(_ request: ClaimRequest) async throws -> ClaimAnswer {
        let tasks = tasks
        return try await work("write") { session in
            if request.run.kind == .task { try tasks.prepare(session) }
            // Those that wait ask again and again: first without a lock and without writing.
            if let answer = try Self.look(request, tasks, session, locking: false) { return answer }
            try session.query(
                "INSERT INTO leases (app, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", request.key)
            if let answer = try Self.look(request, tasks, session, locking: true) { return answer }
            if request.run.kind == .task, try !tasks.rehearse(request.run.name, session),
                let answer = try Self.look(request, tasks, session, locking: true)
            {
                return answer
            }
            return try Self.grant(request, session)
        }
    }

    /// - Returns: nil when the claim is to be granted.
    private static func look(
        _ request: ClaimRequest, _ tasks: PostgresTasksTable, _ session: PostgresSession, locking: Bool
    ) throws -> ClaimAnswer? {
        let lease = try session.query(
            """
            SELECT fence, holder, host, commit_id, run, \(millisecondsUntil("expires_at")) FROM leases
            WHERE app = $1 AND name = $2\(locking ? " FOR UPDATE" : "")
            """, request.key
        ).rows.first
        if let answer = try outcome(request, tasks, session) { return answer }
        guard let lease, let holder = try lease.optional(1, as: String.self) else { return nil }
        let run = try lease.optional(4, as: Int64.self)
        if holder == request.holder {
            // Its own: that of a claim whose answer was lost, or else of a run that is over.
            let own = try run.flatMap { try Self.run($0, session) }
            guard locking, let own, own.marker == request.run.marker, own.status == .running else { return nil }
            // The holder counts from when it asked this time.
            try session.query(
                "UPDATE leases SET expires_at = clock_timestamp() + \(leaseInterval) WHERE app = $1 AND name = $2",
                request.key)
            return .granted(
                Lease(app: request.owner, name: request.work, fence: try lease.get(0), holder: holder), own,
                failures: try failures(request, session))
        }
        let remaining = try lease.optional(5, as: Int64.self) ?? 0
        guard remaining > 0 else { return nil }
        return .held(
            HeldBy(
                run: run, host: try lease.get(2), commit: try lease.get(3), expiresIn: .milliseconds(remaining),
                hosts: try session.query(
                    "SELECT count(*) FROM agents WHERE app = $1 AND last_seen > clock_timestamp() - interval '2 minutes'",
                    [.text(request.scope.app)]
                ).rows[0].get(0)))
    }

    /// What has come of the work, where that is something to go by.
    private static func outcome(
        _ request: ClaimRequest, _ tasks: PostgresTasksTable, _ session: PostgresSession
    ) throws -> ClaimAnswer? {
        let isDone = try request.run.kind == .task && tasks.isDone(request.run.name, session)
        let row = try session.query(
            """
            SELECT run, status, failures, \(millisecondsUntil("retry_at")), host, at_commit FROM outcomes
            WHERE app = $1 AND name = $2 AND commit_id = $3
            """, request.outcome.values
        ).rows.first
        guard let row else {
            return isDone
                ? .done(
                    run: nil, host: nil, RunEnd(status: .succeeded, completedAt: .now), failures: 0, retryIn: nil)
                : nil
        }
        let run = try row.optional(0, as: Int64.self)
        let failures = try row.get(2, as: Int.self)
        let retryIn = try row.optional(3, as: Int64.self).map { Duration.milliseconds(max(0, $0)) }
        let noted = RunStatus(rawValue: try row.get(1))
        let attempt = try (row.optional(4, as: String.self), row.optional(5, as: String.self))
        guard isDone || request.isAnswered(by: run, noted, failures: failures, retryIn: retryIn, attempt: attempt)
        else { return nil }
        // The run itself may have been deleted since, with its deployment.
        let made = try run.flatMap { try Self.run($0, session) }
        let status = isDone ? .succeeded : noted ?? .interrupted
        var end = made?.end ?? RunEnd(status: status, completedAt: .now)
        end.status = status
        return .done(run: run, host: made?.place.host, end, failures: failures, retryIn: retryIn)
    }

    private static func failures(_ request: ClaimRequest, _ session: PostgresSession) throws -> Int {
        try session.query(
            "SELECT failures FROM outcomes WHERE app = $1 AND name = $2 AND commit_id = $3", request.outcome.values
        ).rows.first?.get(0) ?? 0
    }

    private static func grant(_ request: ClaimRequest, _ session: PostgresSession) throws -> ClaimAnswer {
        try endPredecessor(request, session)
        let fence = try session.query(
            """
            UPDATE leases SET fence = fence + 1, holder = $3, host = $4, commit_id = $5, acquired_at = clock_timestamp(),
                expires_at = clock_timestamp() + \(leaseInterval) WHERE app = $1 AND name = $2 RETURNING fence
            """, request.key + [.text(request.holder), .text(request.scope.host), .text(request.commit)]
        ).rows[0].get(0, as: Int64.self)
        let before = try session.query(
            "SELECT failures, attempts FROM outcomes WHERE app = $1 AND name = $2 AND commit_id = $3",
            request.outcome.values
        ).rows.first
        var draft = request.run
        if draft.kind == .task { draft.attempt = try (before?.get(1) ?? 0) + 1 }
        let run = try insert(draft, fence: fence, session)
        try session.query(
            "UPDATE leases SET run = $3::bigint WHERE app = $1 AND name = $2", request.key + [.integer(run.id)])
        try session.query(
            """
            INSERT INTO outcomes AS known (app, name, commit_id, run, fence, status, attempts, digest, host, at_commit, by_app)
            VALUES ($1, $2, $3, $4::bigint, $5::bigint, 'running', 1, $6, $7, $8, $9)
            ON CONFLICT (app, name, commit_id) DO UPDATE
            SET run = excluded.run, fence = excluded.fence, status = excluded.status, retry_at = NULL,
                attempts = known.attempts + 1, digest = excluded.digest, host = excluded.host,
                at_commit = excluded.at_commit, by_app = excluded.by_app
            """,
            request.outcome.values + [
                .integer(run.id), .integer(fence), PostgresValue(draft.digest), .text(request.scope.host),
                .text(request.commit), .text(request.scope.app),
            ])
        return .granted(
            Lease(app: request.owner, name: request.work, fence: fence, holder: request.holder), run,
            failures: try before?.get(0) ?? 0)
    }

    /// Whoever held the lease did not give it up: its run, and the deployment with it, are over.
    private static func endPredecessor(_ request: ClaimRequest, _ session: PostgresSession) throws {
        guard
            let before = try session.query(
                "SELECT run, fence FROM leases WHERE app = $1 AND name = $2 AND holder IS NOT NULL", request.key
            ).rows.first, let run = try before.optional(0, as: Int64.self)
        else { return }
        let message =
            "its agent did not renew its lease (fence \(try before.get(1, as: Int64.self))); "
            + "\(request.scope.host) took over"
        try session.query(
            """
            UPDATE outcomes SET status = 'interrupted' WHERE app = $1 AND name = $2 AND run = $3::bigint
            AND status = 'running'
            """, request.key + [.integer(run)])
        let ended = try session.query(
            """
            UPDATE runs SET status = 'interrupted', completed_at = clock_timestamp(), error_message = $2
            WHERE id = $1::bigint AND status = 'running' RETURNING CASE WHEN \(RunParent.isDeployment) THEN parent END
            """, [.integer(run), .text(message)]
        ).rows.first
        // A task is not its deployment's fate.
        guard request.run.kind == .hook, let deployment = try ended?.optional(0, as: Int64.self) else { return }
        try session.query(
            """
            UPDATE deployments SET status = 'interrupted', completed_at = clock_timestamp(), error_message = $2
            WHERE id = $1::bigint AND status = 'running'
            """, [.integer(deployment), .text("\(request.run.name) interrupted: \(message)")])
    }

    public func renew(_ lease: Lease) async throws -> Bool {
        try await renewal { session in
            try session.query(
                """
                UPDATE leases SET expires_at = clock_timestamp() + \(leaseInterval)
                WHERE app = $1 AND name = $2 AND fence = $3::bigint AND holder = $4
                """, lease.key
            ).affected == 1
        }
    }

    public func complete(_ result: ClaimResult) async throws -> Int? {
        do {
            return try await completeAsItIs(result)
        } catch let error as LedgerError where error.code == .refused {
            return try await completeAsItIs(result.withoutText)
        }
    }

    private func completeAsItIs(_ result: ClaimResult) async throws -> Int? {
        let (channel, tasks) = (leaseChannel, tasks)
        return try await work("write") { session in
            let lease = result.lease
            let isCurrent = try !session.query(
                """
                SELECT 1 FROM leases WHERE app = $1 AND name = $2 AND fence = $3::bigint AND holder = $4 FOR UPDATE
                """, lease.key
            ).rows.isEmpty
            let claim = result.outcome.values + [.integer(result.run)]
            guard isCurrent else {
                // Written before, the answer was lost; or it has passed on.
                return try session.query(
                    """
                    SELECT coalesce((SELECT failures FROM outcomes WHERE app = $1 AND name = $2 AND commit_id = $3), 0)
                    FROM runs WHERE id = $4::bigint AND fence = $5::bigint AND status = $6 AND status <> 'interrupted'
                    """, claim + [.integer(lease.fence), .text(result.result.status.rawValue)]
                ).rows.first?.get(0)
            }
            if result.task != nil { try tasks.prepare(session) }
            // Whoever took it for dead was wrong: the lease never passed on.
            try Self.complete(result.run, result.result, session, evenInterrupted: true)
            let failures = try session.query(
                """
                UPDATE outcomes SET status = $5, failures = failures + $6::integer,
                    retry_at = clock_timestamp() + $7::bigint * interval '1 millisecond'
                WHERE app = $1 AND name = $2 AND commit_id = $3 AND run = $4::bigint RETURNING failures
                """,
                claim + [
                    .text(result.result.status.rawValue), .integer(result.isFailure ? 1 : 0),
                    PostgresValue(result.retryIn?.wholeMilliseconds),
                ]
            ).rows.first?.get(0, as: Int.self)
            try session.query(
                """
                UPDATE leases SET holder = NULL, host = NULL, commit_id = NULL, run = NULL, acquired_at = NULL,
                    expires_at = NULL WHERE app = $1 AND name = $2 AND fence = $3::bigint AND holder = $4
                """, lease.key)
            if let task = result.task { try tasks.note(task, result.result, session) }
            try session.query("SELECT pg_notify($1, $2)", [.text(channel), .text(lease.app)])
            return failures ?? 0
        }
    }

    /// A person asks for a commit again: what failed for all hosts is due for all.
    static func makeFleetDue(_ deployment: Int64, _ session: PostgresSession) throws {
        let reset = try session.query(
            """
            UPDATE outcomes SET status = 'due', retry_at = NULL FROM deployments
            WHERE deployments.id = $1::bigint AND outcomes.app = deployments.app
            AND outcomes.commit_id = deployments.commit_id
            AND outcomes.status IN ('failed', 'timed_out', 'deferred')
            """, [.integer(deployment)])
        guard reset.affected > 0 else { return }
        try session.query(
            """
            UPDATE deployments SET settled = FALSE, retry_at = NULL FROM deployments AS own
            WHERE own.id = $1::bigint AND deployments.app = own.app AND deployments.commit_id = own.commit_id
            AND deployments.status IN ('failed', 'deferred')
            AND EXISTS (SELECT 1 FROM runs WHERE \(RunParent.isDeployment) AND runs.parent = deployments.id
                AND runs.kind = 'hook' AND runs.scope = 'fleet' AND runs.status IN ('failed', 'timed_out', 'deferred'))
            """, [.integer(deployment)])
    }
}

let leaseInterval = "interval '\(Lease.duration.wholeMilliseconds) milliseconds'"

/// SQL for the time until a column's, in milliseconds.
func millisecondsUntil(_ column: String) -> String {
    "round(extract(epoch FROM \(column) - clock_timestamp()) * 1000)::bigint"
}

extension ClaimRequest {
    fileprivate var key: [PostgresValue] { [.text(owner), .text(work)] }
}

extension Outcome.Key {
    var values: [PostgresValue] { [.text(app), .text(name), .text(commit)] }
}

extension Lease {
    fileprivate var key: [PostgresValue] { [.text(app), .text(name), .integer(fence), .text(holder)] }
}

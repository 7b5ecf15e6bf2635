import GRDB
public import Ledger

/// Who does what is done once, among the agents and commands of this machine that use the file.
///
/// As in `PostgresLedger`; a write transaction takes the place of the lease's locked row, and the time since the machine's
/// start that of the server's clock.
extension SQLiteLedger {
    public func claim(_ request: ClaimRequest) async throws -> ClaimAnswer {
        // Those that wait ask again and again: first without a lock.
        if let answer = try await read({ db in try Self.look(request, db, writing: false) }) { return answer }
        if request.isTaken {
            return .held(
                HeldBy(
                    run: nil, host: request.scope.host, commit: request.commit, expiresIn: .seconds(1), hosts: 1))
        }
        let path = path
        return try await write { db in
            if let answer = try Self.look(request, db, writing: true) { return answer }
            if request.run.kind == .task, try !Self.rehearse(request.run.name, path, db),
                let answer = try Self.look(request, db, writing: true)
            {
                return answer
            }
            return try Self.grant(request, db)
        }
    }

    /// - Returns: nil when the claim is to be granted.
    private static func look(_ request: ClaimRequest, _ db: Database, writing: Bool) throws -> ClaimAnswer? {
        if let answer = try outcome(request, db) { return answer }
        let lease = try Row.fetchOne(
            db,
            sql: "SELECT fence, holder, host, commit_id, run, expires_at, boot FROM leases WHERE app = ? AND name = ?",
            arguments: [request.owner, request.work])
        guard let lease, let holder = lease[1] as String? else { return nil }
        let run: Int64? = lease[4]
        if holder == request.holder {
            // Its own: that of a claim whose answer was lost, or else of a run that is over.
            let own = try run.flatMap { try Self.run($0, db) }
            guard writing, let own, own.marker == request.run.marker, own.status == .running else { return nil }
            try prolong(request.owner, request.work, db)
            return .granted(
                Lease(app: request.owner, name: request.work, fence: lease[0], holder: holder), own,
                failures: try noted(request, db).failures)
        }
        return LeaseClock.remaining(until: lease[5], boot: lease[6]).map { remaining in
            .held(HeldBy(run: run, host: lease[2], commit: lease[3], expiresIn: remaining, hosts: 1))
        }
    }

    /// What has come of the work, where that is something to go by.
    private static func outcome(_ request: ClaimRequest, _ db: Database) throws -> ClaimAnswer? {
        let isDone = try request.run.kind == .task && Self.isDone(request.run.name, db)
        let row = try Row.fetchOne(
            db,
            sql: """
                SELECT run, status, failures, retry_at, host, at_commit,
                    (SELECT completed_at FROM runs WHERE id = outcomes.run)
                FROM outcomes WHERE app = ? AND name = ? AND commit_id = ?
                """,
            arguments: request.outcome.arguments)
        guard let row else {
            let end = RunEnd(status: .succeeded, completedAt: .now)
            return isDone ? .done(run: nil, host: nil, end, failures: 0, retryIn: nil) : nil
        }
        let (run, failures): (Int64?, Int) = (row[0], row[2])
        let now = Timestamp.now
        // Before the run whose failure it follows had ended: the clock was set back since, and nobody knows how long to wait.
        let isSetBack = (row[6] as Int64?).map { now.milliseconds < $0 } ?? false
        let retryIn = (row[3] as Int64?).map { due in
            isSetBack ? .zero : Duration.milliseconds(max(0, Timestamp(milliseconds: due).millisecondsSince(now)))
        }
        let noted = RunStatus(rawValue: row[1])
        guard
            isDone
                || request.isAnswered(by: run, noted, failures: failures, retryIn: retryIn, attempt: (row[4], row[5]))
        else { return nil }
        let made = try run.flatMap { try Self.run($0, db) }
        let status = isDone ? .succeeded : noted ?? .interrupted
        var end = made?.end ?? RunEnd(status: status, completedAt: .now)
        end.status = status
        return .done(run: run, host: made?.place.host, end, failures: failures, retryIn: retryIn)
    }

    private static func noted(_ request: ClaimRequest, _ db: Database) throws -> (failures: Int, attempts: Int) {
        try Row.fetchOne(
            db, sql: "SELECT failures, attempts FROM outcomes WHERE app = ? AND name = ? AND commit_id = ?",
            arguments: request.outcome.arguments
        ).map { (failures: $0[0], attempts: $0[1]) } ?? (0, 0)
    }

    private static func grant(_ request: ClaimRequest, _ db: Database) throws -> ClaimAnswer {
        try endPredecessor(request, db)
        let (app, work, now) = (request.owner, request.work, Timestamp.now)
        try db.execute(
            sql: """
                INSERT INTO leases (app, name, fence, holder, host, commit_id, acquired_at) VALUES (?, ?, 1, ?, ?, ?, ?)
                ON CONFLICT (app, name) DO UPDATE SET fence = fence + 1, holder = excluded.holder, host = excluded.host,
                    commit_id = excluded.commit_id, acquired_at = excluded.acquired_at
                """,
            arguments: [app, work, request.holder, request.scope.host, request.commit, now.milliseconds])
        try prolong(app, work, db)
        let fence =
            try Int64.fetchOne(
                db, sql: "SELECT fence FROM leases WHERE app = ? AND name = ?", arguments: [app, work]) ?? 1
        let before = try noted(request, db)
        var draft = request.run
        if draft.kind == .task { draft.attempt = before.attempts + 1 }
        let run = try insert(draft, fence: fence, db)
        try db.execute(
            sql: "UPDATE leases SET run = ? WHERE app = ? AND name = ?", arguments: [run.id, app, work])
        try db.execute(
            sql: """
                INSERT INTO outcomes (app, name, commit_id, run, fence, status, attempts, digest, host, at_commit, by_app)
                VALUES (?, ?, ?, ?, ?, 'running', 1, ?, ?, ?, ?)
                ON CONFLICT (app, name, commit_id) DO UPDATE SET run = excluded.run, fence = excluded.fence,
                    status = excluded.status, retry_at = NULL, attempts = attempts + 1, digest = excluded.digest,
                    host = excluded.host, at_commit = excluded.at_commit, by_app = excluded.by_app
                """,
            arguments: request.outcome.arguments + [
                run.id, fence, draft.digest, request.scope.host, request.commit, request.scope.app,
            ])
        return .granted(
            Lease(app: app, name: work, fence: fence, holder: request.holder), run, failures: before.failures)
    }

    /// Whoever held the lease did not give it up: its run is over.
    private static func endPredecessor(_ request: ClaimRequest, _ db: Database) throws {
        let before = try Row.fetchOne(
            db, sql: "SELECT run, fence FROM leases WHERE app = ? AND name = ? AND holder IS NOT NULL",
            arguments: [request.owner, request.work])
        guard let before, let run = before[0] as Int64? else { return }
        try db.execute(
            sql: """
                UPDATE runs SET status = 'interrupted', completed_at = ?, error_message = ?
                WHERE id = ? AND status = 'running'
                """,
            arguments: [
                Timestamp.now.milliseconds, "its agent did not renew its lease (fence \(before[1] as Int64))", run,
            ])
    }

    private static func prolong(_ app: String, _ work: String, _ db: Database) throws {
        try db.execute(
            sql: "UPDATE leases SET expires_at = ?, boot = ? WHERE app = ? AND name = ?",
            arguments: [LeaseClock.now + Lease.duration.wholeMilliseconds, LeaseClock.boot, app, work])
    }

    public func renew(_ lease: Lease) async throws -> Bool {
        // A run that has begun may go on to its end: it is known by its name on this machine too.
        try await writeAnywhere { db in
            guard try Self.isCurrent(lease, db) else { return false }
            try Self.prolong(lease.app, lease.name, db)
            return true
        }
    }

    private static func isCurrent(_ lease: Lease, _ db: Database) throws -> Bool {
        try Bool.fetchOne(
            db,
            sql: "SELECT EXISTS (SELECT 1 FROM leases WHERE app = ? AND name = ? AND fence = ? AND holder = ?)",
            arguments: [lease.app, lease.name, lease.fence, lease.holder]) ?? false
    }

    public func complete(_ result: ClaimResult) async throws -> Int? {
        try await write { db in
            let lease = result.lease
            guard try Self.isCurrent(lease, db) else {
                // Written before, the answer was lost; or it has passed on.
                return try Int.fetchOne(
                    db,
                    sql: """
                        SELECT coalesce((SELECT failures FROM outcomes WHERE app = ? AND name = ? AND commit_id = ?), 0)
                        FROM runs WHERE id = ? AND fence = ? AND status = ? AND status <> 'interrupted'
                        """,
                    arguments: result.outcome.arguments + [result.run, lease.fence, result.result.status.rawValue])
            }
            // Whoever took it for dead was wrong: the lease never passed on.
            try Self.complete(result.run, result.result, db, evenInterrupted: true)
            try db.execute(
                sql: """
                    UPDATE outcomes SET status = ?, failures = failures + ?, retry_at = ?
                    WHERE app = ? AND name = ? AND commit_id = ? AND run = ?
                    """,
                arguments: [
                    result.result.status.rawValue, result.isFailure ? 1 : 0,
                    result.retryIn.map { Timestamp.now.advanced(by: $0).milliseconds },
                ] + result.outcome.arguments + [result.run])
            try db.execute(
                sql: """
                    UPDATE leases SET holder = NULL, host = NULL, commit_id = NULL, run = NULL, acquired_at = NULL,
                        expires_at = NULL WHERE app = ? AND name = ?
                    """, arguments: [lease.app, lease.name])
            if let task = result.task { try Self.note(task, result.result, db) }
            return try Int.fetchOne(
                db, sql: "SELECT failures FROM outcomes WHERE app = ? AND name = ? AND commit_id = ?",
                arguments: result.outcome.arguments) ?? 0
        }
    }

    static func expireLease(ofRun run: Int64, _ db: Database) throws {
        try db.execute(
            sql: "UPDATE leases SET expires_at = ? WHERE run = ? AND holder IS NOT NULL",
            arguments: [LeaseClock.now, run])
    }

    public func leaseChanges(app: String) -> any LeaseChanges { Polling() }

    private struct Polling: LeaseChanges {
        func next(after held: HeldBy) async {
            try? await Task.sleep(for: min(held.expiresIn + .milliseconds(10), .milliseconds(250)))
        }
    }
}

extension Outcome.Key {
    var arguments: StatementArguments { [app, name, commit] }
}

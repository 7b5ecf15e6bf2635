import GRDB
public import Ledger

/// What the decision to deploy asks of the record.
extension SQLiteLedger {
    public func facts(_ scope: Scope, commit: String) async throws -> LedgerFacts {
        // In the usual case the newest deployment answers all: one statement, which needs no transaction of its own.
        let latest = try await unsafeRead { db in try Self.newest(db, scope) }
        guard let latest else { return LedgerFacts() }
        if latest.settled, latest.commit == commit, latest.status == .succeeded, latest.scope.app == scope.app {
            return LedgerFacts(
                latest: latest, lastSettled: latest, latestOfCommit: latest, lastSucceededCommit: latest.commit)
        }
        return try await read { db in
            LedgerFacts(
                latest: try Self.newest(db, scope),
                lastSettled: try Self.newest(db, scope, " AND app = ? AND settled = 1", [scope.app]),
                lastBrought: try Self.newest(
                    db, scope, " AND app = ? AND settled = 1 AND trigger_name <> 'rollback'", [scope.app]),
                latestOfCommit: try Self.newest(db, scope, " AND app = ? AND commit_id = ?", [scope.app, commit]),
                lastSucceededCommit: try Self.newest(db, scope, " AND status = 'succeeded'")?.commit)
        }
    }

    /// The newest deployment on a workspace that meets a condition; an index answers each of those used here.
    private static func newest(
        _ db: Database, _ scope: Scope, _ condition: String = "", _ extra: [String] = []
    ) throws -> Deployment? {
        let statement = try db.cachedStatement(
            sql: "SELECT \(Deployment.columns) FROM deployments WHERE host = ? AND workspace = ?\(condition) "
                + "AND \(Deployment.counts) ORDER BY id DESC LIMIT 1")
        let arguments = StatementArguments([scope.host, scope.workspace] + extra)
        return try Row.fetchOne(statement, arguments: arguments).map { try Deployment(row: $0) }
    }

    public func failures(series: Int64, name: String) async throws -> Int {
        try await read { db in try Self.failures(db, series: series, name: name) }
    }

    /// The count travels with the runs, so that it does not shrink when old deployments are deleted.
    static func failures(_ db: Database, series: Int64, name: String) throws -> Int {
        try Int.fetchOne(
            db,
            sql: """
                SELECT max(runs.failures) FROM runs
                JOIN deployments ON \(RunParent.isDeployment) AND runs.parent = deployments.id
                WHERE deployments.series = ? AND runs.kind = 'hook' AND runs.name = ?
                """,
            arguments: [series, name]) ?? 0
    }
}

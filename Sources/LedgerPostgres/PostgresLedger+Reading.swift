public import Ledger
import Postgres

/// What the decision to deploy, recovery and the views read.
extension PostgresLedger {
    public func facts(_ scope: Scope, commit: String) async throws -> LedgerFacts {
        try await work("read") { session in
            guard let latest = try Self.newest(session, scope) else { return LedgerFacts() }
            if latest.settled, latest.commit == commit, latest.status == .succeeded, latest.scope.app == scope.app {
                return LedgerFacts(
                    latest: latest, lastSettled: latest, latestOfCommit: latest, lastSucceededCommit: latest.commit)
            }
            return LedgerFacts(
                latest: latest,
                lastSettled: try Self.newest(session, scope, " AND app = $3 AND settled", [.text(scope.app)]),
                latestOfCommit: try Self.newest(
                    session, scope, " AND app = $3 AND commit_id = $4", [.text(scope.app), .text(commit)]),
                lastSucceededCommit: try Self.newest(session, scope, " AND status = 'succeeded'")?.commit)
        }
    }

    /// The newest deployment on a workspace that meets a condition; an index answers each of those used here.
    private static func newest(
        _ session: PostgresSession, _ scope: Scope, _ condition: String = "", _ extra: [PostgresValue] = []
    ) throws -> Deployment? {
        try session.query(
            "SELECT \(Deployment.columns) FROM deployments WHERE host = $1 AND workspace = $2\(condition) "
                + "ORDER BY id DESC LIMIT 1", [.text(scope.host), .text(scope.workspace)] + extra
        ).rows.first.map(Deployment.init(row:))
    }

    public func failures(series: Int64, name: String) async throws -> Int {
        try await work("read") { session in try Self.failures(session, series: series, name: name) }
    }

    /// The count travels with the runs, so that it does not shrink when old deployments are deleted.
    static func failures(_ session: PostgresSession, series: Int64, name: String) throws -> Int {
        try session.query(
            """
            SELECT coalesce(max(runs.failures), 0)
            FROM runs JOIN deployments ON runs.parent = deployments.id AND runs.kind = 'hook'
            WHERE deployments.series = $1::bigint AND runs.name = $2
            """, [.integer(series), .text(name)]
        ).rows[0].get(0)
    }

    public func unfinished(
        hosts: [String]?, workspace: String
    ) async throws -> (deployments: [Deployment], runs: [Run]) {
        try await work("read") { session in
            var condition = "deployments.workspace = $1"
            let arguments: [PostgresValue] = [.text(workspace)] + (hosts ?? []).map(PostgresValue.text)
            if let hosts {
                let places = hosts.indices.map { "$\($0 + 2)" }.joined(separator: ", ")
                condition += " AND deployments.host IN (\(places))"
            }
            let deployments = try session.query(
                "SELECT \(Deployment.columns) FROM deployments WHERE status = 'running' AND \(condition) ORDER BY id",
                arguments
            ).rows.map(Deployment.init(row:))
            let runs = try session.query(
                """
                SELECT \(Run.columns) FROM runs
                JOIN deployments ON runs.parent = deployments.id AND runs.kind = 'hook'
                WHERE runs.status = 'running' AND \(condition) ORDER BY runs.id
                """, arguments
            ).rows.map(Run.init(row:))
            return (deployments, runs)
        }
    }

    public func ended(markers: [String]) async throws -> Set<String> {
        try await work("read") { session in
            try Set(
                markers.filter { marker in
                    try session.query(
                        "SELECT EXISTS (SELECT 1 FROM runs WHERE marker = $1 AND status <> 'running')", [.text(marker)]
                    ).rows[0].get(0)
                })
        }
    }

    public func history(_ filter: HistoryFilter) async throws -> [Deployment] {
        try await work("read") { session in
            var arguments: [PostgresValue] = []
            func argument(_ value: PostgresValue) -> String {
                arguments.append(value)
                return "$\(arguments.count)"
            }
            var conditions: [String] = []
            if let host = filter.host { conditions.append("host = " + argument(.text(host))) }
            switch filter.subject {
            case .workspace(let path): conditions.append("workspace = " + argument(.text(path)))
            case .app(let name): conditions.append("app = " + argument(.text(name)))
            }
            var sql = "SELECT \(Deployment.columns) FROM deployments WHERE " + conditions.joined(separator: " AND ")
            if let commit = filter.commit {
                // Hexadecimal digits all come before `g`: a range that an index answers.
                let first = argument(.text(commit))
                sql += " AND commit_id >= \(first) AND commit_id < \(first) || 'g'"
            }
            if let status = filter.status { sql += " AND status = " + argument(.text(status.rawValue)) }
            sql += " ORDER BY id DESC LIMIT \(argument(PostgresValue(filter.limit)))::bigint"
            return try session.query(sql, arguments).rows.map(Deployment.init(row:))
        }
    }

    public func deployment(_ id: Int64) async throws -> Deployment? {
        try await work("read") { session in
            try session.query(
                "SELECT \(Deployment.columns) FROM deployments WHERE id = $1::bigint", [.integer(id)]
            ).rows.first.map(Deployment.init(row:))
        }
    }

    public func runs(deployment: Int64) async throws -> [Run] {
        try await work("read") { session in
            try session.query(
                "SELECT \(Run.columns) FROM runs WHERE kind = 'hook' AND parent = $1::bigint ORDER BY id",
                [.integer(deployment)]
            ).rows.map(Run.init(row:))
        }
    }

    public func run(_ id: Int64) async throws -> Run? {
        try await work("read") { session in
            try session.query("SELECT \(Run.columns) FROM runs WHERE id = $1::bigint", [.integer(id)])
                .rows.first.map(Run.init(row:))
        }
    }

    public func lastRun(_ scope: Scope, name: String) async throws -> Run? {
        try await work("read") { session in
            try session.query(
                """
                SELECT \(Run.columns) FROM (
                    SELECT id FROM deployments WHERE host = $2 AND app = $3 AND workspace = $4 ORDER BY id DESC LIMIT 1000
                ) AS newest JOIN runs ON runs.parent = newest.id AND runs.kind = 'hook'
                WHERE runs.name = $1 AND runs.status <> 'running' ORDER BY runs.id DESC LIMIT 1
                """, [.text(name), .text(scope.host), .text(scope.app), .text(scope.workspace)]
            ).rows.first.map(Run.init(row:))
        }
    }

    public func nextNotification(_ scope: Scope) async throws -> PendingNotification? {
        try await work("read") { session in
            try session.query(
                """
                SELECT \(PendingNotification.columns) FROM notifications
                JOIN deployments ON deployments.id = notifications.deployment
                WHERE deployments.host = $1 AND deployments.workspace = $2
                ORDER BY due_at, notifications.id LIMIT 1
                """, [.text(scope.host), .text(scope.workspace)]
            ).rows.first.map(PendingNotification.init(row:))
        }
    }
}

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
                lastSettled: try Self.newest(session, scope, and: [("app", .text(scope.app))], " AND settled"),
                lastBrought: try Self.newest(
                    session, scope, and: [("app", .text(scope.app))], " AND settled AND trigger_name <> 'rollback'"),
                latestOfCommit: try Self.newest(
                    session, scope, and: [("app", .text(scope.app)), ("commit_id", .text(commit))]),
                lastSucceededCommit: try Self.newest(session, scope, and: [("status", .text("succeeded"))])?.commit)
        }
    }

    /// The newest deployment on a workspace that meets a condition; an index answers each of those used here.
    private static func newest(
        _ session: PostgresSession, _ scope: Scope, and more: [(String, PostgresValue)] = [], _ condition: String = ""
    ) throws -> Deployment? {
        let columns = [("host", PostgresValue.text(scope.host)), ("workspace", .text(scope.workspace))] + more
        // In the order in which the index has them.
        let index = ["host", "app", "workspace", "commit_id", "status"].filter { name in
            columns.contains { $0.0 == name }
        }
        let values = index.compactMap { name in columns.first { $0.0 == name }?.1 }
        let (range, order) = newestFirst(index, from: 1)
        return try session.query(
            "SELECT \(Deployment.columns) FROM deployments WHERE \(range)\(condition) "
                + "AND \(Deployment.counts) ORDER BY \(order) LIMIT 1", values
        ).rows.first.map { try Deployment(row: $0) }
    }

    /// SQL for the rows with given values in some columns, newest first, such that only an index on those columns and the id
    /// has that order.
    ///
    /// With plain equality the planner drops the columns from the order and may walk the primary key backwards instead: past
    /// everybody else's rows, for a host that has had none for long.
    /// - Parameter first: number of the parameter with the first value.
    private static func newestFirst(_ columns: [String], from first: Int) -> (range: String, order: String) {
        let names = columns.joined(separator: ", ")
        let values = columns.indices.map { "$\($0 + first)::text" }.joined(separator: ", ")
        return (
            "ROW(\(names)) >= ROW(\(values)) AND ROW(\(names)) <= ROW(\(values))",
            (columns + ["id"]).map { "\($0) DESC" }.joined(separator: ", ")
        )
    }

    public func failures(series: Int64, name: String) async throws -> Int {
        try await work("read") { session in try Self.failures(session, series: series, name: name) }
    }

    /// The count travels with the runs, so that it does not shrink when old deployments are deleted.
    static func failures(_ session: PostgresSession, series: Int64, name: String) throws -> Int {
        try session.query(
            """
            SELECT coalesce(max(runs.failures), 0)
            FROM runs JOIN deployments ON \(RunParent.isDeployment) AND runs.parent = deployments.id
            WHERE deployments.series = $1::bigint AND runs.kind = 'hook' AND runs.name = $2
            """, [.integer(series), .text(name)]
        ).rows[0].get(0)
    }

    public func unfinished(
        hosts: [String]?, workspace: String
    ) async throws -> (deployments: [Deployment], runs: [Run]) {
        try await work("read") { session in
            var condition = "workspace = $1"
            let arguments: [PostgresValue] = [.text(workspace)] + (hosts ?? []).map(PostgresValue.text)
            if let hosts {
                let places = hosts.indices.map { "$\($0 + 2)" }.joined(separator: ", ")
                condition += " AND host IN (\(places))"
            }
            let deployments = try session.query(
                "SELECT \(Deployment.columns) FROM deployments WHERE status = 'running' AND \(condition) ORDER BY id",
                arguments
            ).rows.map { try Deployment(row: $0) }
            let runs = try session.query(
                "SELECT \(Run.columns) FROM runs WHERE status = 'running' AND \(condition) ORDER BY id", arguments
            ).rows.map { try Run(row: $0) }
            return (deployments, runs)
        }
    }

    public func ended(markers: [String]) async throws -> Set<String> {
        try await work("read") { session in
            try Set(
                markers.filter { marker in
                    try session.query(
                        "SELECT EXISTS (SELECT 1 FROM runs WHERE marker = $1 AND status NOT IN ('running', 'interrupted'))",
                        [.text(marker)]
                    ).rows[0].get(0)
                })
        }
    }

    public func history(_ filter: HistoryFilter) async throws -> [Deployment] {
        try await work("read") { session in
            var columns: [(String, PostgresValue)] = []
            switch (filter.host, filter.subject) {
            case (let host?, .workspace(let path)): columns = [("host", .text(host)), ("workspace", .text(path))]
            case (let host?, .app(let name)): columns = [("host", .text(host)), ("app", .text(name))]
            case (nil, .workspace(let path)): columns = [("workspace", .text(path))]
            case (nil, .app(let name)): columns = [("app", .text(name))]
            }
            if let status = filter.status { columns.append(("status", .text(status.rawValue))) }
            var arguments = columns.map(\.1)
            func argument(_ value: PostgresValue) -> String {
                arguments.append(value)
                return "$\(arguments.count)"
            }
            // What an index has in the order that is asked for.
            let isIndexed = ["host,workspace", "host,workspace,status", "app", "app,status"].contains(
                columns.map(\.0).joined(separator: ","))
            var (range, order) = Self.newestFirst(columns.map(\.0), from: 1)
            if !isIndexed || filter.commit != nil {
                range = columns.indices.map { "\(columns[$0].0) = $\($0 + 1)" }.joined(separator: " AND ")
                order = "id DESC"
            }
            if let commit = filter.commit {
                // Hexadecimal digits all come before `g`: a range that an index answers.
                let first = argument(.text(commit))
                range += " AND commit_id >= \(first) AND commit_id < \(first) || 'g'"
            }
            return try session.query(
                """
                SELECT \(Deployment.columns) FROM deployments WHERE \(range)
                ORDER BY \(order) LIMIT \(argument(PostgresValue(filter.limit)))::bigint
                """, arguments
            ).rows.map { try Deployment(row: $0) }
        }
    }

    public func deployment(_ id: Int64) async throws -> Deployment? {
        try await work("read") { session in
            try session.query(
                "SELECT \(Deployment.columns) FROM deployments WHERE id = $1::bigint", [.integer(id)]
            ).rows.first.map { try Deployment(row: $0) }
        }
    }

    public func runs(deployment: Int64) async throws -> [Run] {
        try await work("read") { session in
            try session.query(
                "SELECT \(Run.columns) FROM runs WHERE \(RunParent.isDeployment) AND parent = $1::bigint ORDER BY id",
                [.integer(deployment)]
            ).rows.map { try Run(row: $0) }
        }
    }

    public func run(_ id: Int64) async throws -> Run? {
        try await work("read") { session in try Self.run(id, session) }
    }

    static func run(_ id: Int64, _ session: PostgresSession) throws -> Run? {
        try session.query("SELECT \(Run.columns) FROM runs WHERE id = $1::bigint", [.integer(id)])
            .rows.first.map { try Run(row: $0) }
    }

    public func outputTail(run: Int64) async throws -> String {
        try await work("read") { session in
            try session.query("SELECT tail FROM run_outputs WHERE run = $1::bigint", [.integer(run)])
                .rows.first?.get(0) ?? ""
        }
    }

    public func lastRun(_ scope: Scope, kind: RunKind, name: String) async throws -> Run? {
        try await work("read") { session in
            let (range, order) = Self.newestFirst(["host", "app", "workspace", "kind", "name"], from: 1)
            return try session.query(
                """
                SELECT \(Run.columns) FROM runs WHERE \(range) AND status <> 'running' ORDER BY \(order) LIMIT 1
                """,
                [.text(scope.host), .text(scope.app), .text(scope.workspace), .text(kind.rawValue), .text(name)]
            ).rows.first.map { try Run(row: $0) }
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

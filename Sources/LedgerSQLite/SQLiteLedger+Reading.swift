import GRDB
public import Ledger

/// What recovery and the views read.
extension SQLiteLedger {
    public func unfinished(
        hosts: [String]?, workspace: String
    ) async throws -> (deployments: [Deployment], runs: [Run]) {
        try await read { db in
            var condition = "workspace = ?"
            var arguments: StatementArguments = [workspace]
            if let hosts {
                condition += " AND host IN (\(databaseQuestionMarks(count: hosts.count)))"
                arguments += StatementArguments(hosts)
            }
            let deployments = try Row.fetchAll(
                db,
                sql:
                    "SELECT \(Deployment.columns) FROM deployments WHERE status = 'running' AND \(condition) ORDER BY id",
                arguments: arguments
            ).map { try Deployment(row: $0) }
            let runs = try Row.fetchAll(
                db,
                sql: "SELECT \(Run.columns) FROM runs WHERE status = 'running' AND \(condition) ORDER BY id",
                arguments: arguments
            ).map { try Run(row: $0) }
            return (deployments, runs)
        }
    }

    public func ended(markers: [String]) async throws -> Set<String> {
        try await read { db in
            try Set(
                markers.filter { marker in
                    try Bool.fetchOne(
                        db,
                        sql:
                            "SELECT EXISTS (SELECT 1 FROM runs WHERE marker = ? AND status NOT IN ('running', 'interrupted'))",
                        arguments: [marker]) ?? false
                })
        }
    }

    public func history(_ filter: HistoryFilter) async throws -> [Deployment] {
        try await read { db in
            // The unary plus keeps SQLite on the primary key, in order, instead of sorting an index's matches.
            var sql = "SELECT \(Deployment.columns) FROM deployments WHERE TRUE"
            var arguments: StatementArguments = []
            if let host = filter.host {
                sql += " AND +host = ?"
                arguments += [host]
            }
            switch filter.subject {
            case .workspace(let path):
                sql += " AND +workspace = ?"
                arguments += [path]
            case .app(let name):
                sql += " AND +app = ?"
                arguments += [name]
            }
            if let commit = filter.commit {
                sql += " AND substr(commit_id, 1, ?) = ?"
                arguments += [commit.count, commit]
            }
            if let status = filter.status {
                sql += " AND status = ?"
                arguments += [status.rawValue]
            }
            return try Row.fetchAll(
                db, sql: sql + " ORDER BY id DESC LIMIT ?", arguments: arguments + [filter.limit]
            ).map { try Deployment(row: $0) }
        }
    }

    public func lastRun(_ scope: Scope, kind: RunKind, name: String) async throws -> Run? {
        try await read { db in
            try Row.fetchOne(
                db,
                sql: """
                    SELECT \(Run.columns) FROM runs
                    WHERE host = ? AND app = ? AND workspace = ? AND kind = ? AND name = ? AND status <> 'running'
                    ORDER BY id DESC LIMIT 1
                    """,
                arguments: [scope.host, scope.app, scope.workspace, kind.rawValue, name]
            ).map { try Run(row: $0) }
        }
    }

    public func nextNotification(_ scope: Scope) async throws -> PendingNotification? {
        try await read { db in
            try Row.fetchOne(
                db,
                sql: """
                    SELECT notifications.id, deployment, attempts, created_at, due_at FROM notifications
                    JOIN deployments ON deployments.id = notifications.deployment
                    WHERE deployments.host = ? AND deployments.workspace = ?
                    ORDER BY due_at, notifications.id LIMIT 1
                    """,
                arguments: [scope.host, scope.workspace]
            ).map(PendingNotification.init(row:))
        }
    }

    public func deployment(_ id: Int64) async throws -> Deployment? {
        try await read { db in
            try Row.fetchOne(db, sql: "SELECT \(Deployment.columns) FROM deployments WHERE id = ?", arguments: [id])
                .map { try Deployment(row: $0) }
        }
    }

    public func runs(deployment: Int64) async throws -> [Run] {
        try await read { db in
            try Row.fetchAll(
                db,
                sql: "SELECT \(Run.columns) FROM runs WHERE \(RunParent.isDeployment) AND parent = ? ORDER BY id",
                arguments: [deployment]
            ).map { try Run(row: $0) }
        }
    }

    public func run(_ id: Int64) async throws -> Run? {
        try await read { db in try Self.run(id, db) }
    }

    static func run(_ id: Int64, _ db: Database) throws -> Run? {
        try Row.fetchOne(db, sql: "SELECT \(Run.columns) FROM runs WHERE id = ?", arguments: [id])
            .map { try Run(row: $0) }
    }

    public func outputTail(run: Int64) async throws -> String {
        try await read { db in
            try String.fetchOne(db, sql: "SELECT tail FROM run_outputs WHERE run = ?", arguments: [run]) ?? ""
        }
    }
}

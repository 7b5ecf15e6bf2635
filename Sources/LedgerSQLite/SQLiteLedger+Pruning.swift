import GRDB
public import Ledger

/// Retention.
extension SQLiteLedger {
    public func pruneDeferred(deployment: Int64, keep: Int) async throws -> [Int64] {
        try await write { db in
            let deferred = "\(RunParent.isDeployment) AND parent = ? AND kind = 'task' AND status = 'deferred'"
            let runs = try Int64.fetchAll(
                db, sql: "SELECT id FROM runs WHERE \(deferred) ORDER BY id DESC LIMIT -1 OFFSET ?",
                arguments: [deployment, keep])
            return try Self.delete(runs, db)
        }
    }

    public func pruneAlone(_ scope: Scope, keep: Int) async throws -> [Int64] {
        try await write { db in try Self.pruneAlone(scope, keep: keep, db) }
    }

    private static func pruneAlone(_ scope: Scope, keep: Int, _ db: Database) throws -> [Int64] {
        let own = "host = ? AND app = ? AND workspace = ? AND parent IS NULL"
        let arguments: StatementArguments = [scope.host, scope.app, scope.workspace]
        // The oldest one that stays; one index look-up when there is nothing to delete.
        let oldest = try Int64.fetchOne(
            db, sql: "SELECT id FROM runs WHERE \(own) ORDER BY id DESC LIMIT 1 OFFSET ?",
            arguments: arguments + [max(keep, 1) - 1])
        guard let oldest else { return [] }
        let old = try Int64.fetchAll(
            db, sql: "SELECT id FROM runs WHERE \(own) AND id < ? AND status <> 'running' ORDER BY id",
            arguments: arguments + [oldest])
        return try delete(old, db)
    }

    public func prune(_ scope: Scope, keep: Int, limit: Int) async throws -> [Int64] {
        try await write { db in
            try Self.pruneDeployments(scope, keep: keep, limit: limit, db) + Self.pruneAlone(scope, keep: keep, db)
        }
    }

    private static func pruneDeployments(_ scope: Scope, keep: Int, limit: Int, _ db: Database) throws -> [Int64] {
        let arguments: StatementArguments = [scope.host, scope.app, scope.workspace]
        let own = "host = ? AND app = ? AND workspace = ?"
        // The id of the oldest deployment that stays; one index look-up when there is nothing to delete.
        guard
            let oldest = try Int64.fetchOne(
                db, sql: "SELECT id FROM deployments WHERE \(own) ORDER BY id DESC LIMIT 1 OFFSET ?",
                arguments: arguments + [max(keep, 1) - 1])
        else { return [] }
        let succeeded = try Int64.fetchOne(
            db, sql: "SELECT max(id) FROM deployments WHERE \(own) AND status = 'succeeded'", arguments: arguments)
        let counting = try Int64.fetchOne(
            db, sql: "SELECT id FROM deployments WHERE \(own) AND \(Deployment.counts) ORDER BY id DESC LIMIT 1",
            arguments: arguments)
        let old = try Int64.fetchAll(
            db,
            sql: """
                SELECT id FROM deployments WHERE \(own) AND id < ? AND id NOT IN (?, ?) AND status <> 'running'
                ORDER BY id LIMIT ?
                """, arguments: arguments + [oldest, succeeded ?? 0, counting ?? 0, limit])
        return try old.flatMap { try delete(deployment: $0, db) }
    }

    /// Deletes a deployment with all that belongs to it.
    ///
    /// - Returns: the ids of its runs.
    @discardableResult
    static func delete(deployment id: Int64, _ db: Database) throws -> [Int64] {
        let runs = try delete(
            Int64.fetchAll(
                db, sql: "SELECT id FROM runs WHERE \(RunParent.isDeployment) AND parent = ?", arguments: [id]), db)
        try db.execute(sql: "DELETE FROM notifications WHERE deployment = ?", arguments: [id])
        try db.execute(sql: "DELETE FROM deployments WHERE id = ?", arguments: [id])
        return runs
    }

    /// Deletes runs with what they printed.
    @discardableResult
    static func delete(_ runs: [Int64], _ db: Database) throws -> [Int64] {
        for run in runs {
            try db.execute(sql: "DELETE FROM run_outputs WHERE run = ?", arguments: [run])
            try db.execute(sql: "DELETE FROM runs WHERE id = ?", arguments: [run])
        }
        return runs
    }
}

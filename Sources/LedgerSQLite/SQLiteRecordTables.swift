import GRDB
import Ledger

/// The tables of a file within one transaction, as moving a record needs them.
struct SQLiteRecordTables: RecordTables {
    let db: Database

    // MARK: - Reading a page

    func deployments(after id: Int64, limit: Int) throws -> [Deployment] {
        try Row.fetchAll(
            db, sql: "SELECT \(Deployment.columns) FROM deployments WHERE id > ? ORDER BY id LIMIT ?",
            arguments: [id, limit]
        ).map { try Deployment(row: $0) }
    }

    func runs(of deployments: ClosedRange<Int64>) throws -> [CopiedRun] {
        try copied(
            "\(RunParent.isDeployment) AND runs.parent BETWEEN ? AND ? ORDER BY runs.id",
            [deployments.lowerBound, deployments.upperBound])
    }

    func runsAlone(after id: Int64, limit: Int) throws -> [CopiedRun] {
        try copied("runs.parent IS NULL AND runs.id > ? ORDER BY runs.id LIMIT ?", [id, limit])
    }

    private func copied(_ condition: String, _ arguments: StatementArguments) throws -> [CopiedRun] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT \(Run.columns), original.marker, run_outputs.tail FROM runs
                LEFT JOIN runs AS original ON original.id = runs.adopted
                LEFT JOIN run_outputs ON run_outputs.run = runs.id
                WHERE \(condition)
                """, arguments: arguments
        ).map { try CopiedRun(row: $0) }
    }

    func notifications(of deployments: ClosedRange<Int64>) throws -> [PendingNotification] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT id, deployment, attempts, created_at, due_at FROM notifications WHERE deployment BETWEEN ? AND ?
                ORDER BY id
                """, arguments: [deployments.lowerBound, deployments.upperBound]
        ).map(PendingNotification.init(row:))
    }

    func before(_ deployment: Deployment) throws -> DeploymentKey? {
        try key("host = ? AND workspace = ? AND id < ?", arguments: place(deployment.scope) + [deployment.id])
    }

    func earlierAttempt(_ deployment: Deployment) throws -> DeploymentKey? {
        try key("series = ? AND id < ?", arguments: [deployment.series, deployment.id])
    }

    private func key(_ condition: String, arguments: StatementArguments) throws -> DeploymentKey? {
        try Row.fetchOne(
            db, sql: "SELECT \(Deployment.columns) FROM deployments WHERE \(condition) ORDER BY id DESC LIMIT 1",
            arguments: arguments
        ).map { try Deployment(row: $0).key }
    }

    func last() throws -> RecordIDs {
        func last(_ table: String) throws -> Int64 {
            try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = ?", arguments: [table]) ?? 0
        }
        return RecordIDs(
            deployment: try last("deployments"), run: try last("runs"), notification: try last("notifications"))
    }

    // MARK: - Looking for what is there

    func find(_ key: DeploymentKey) throws -> KnownDeployment? {
        let scope = key.scope
        return try Row.fetchOne(
            db,
            sql: """
                SELECT id, series, status = 'running' FROM deployments
                WHERE host = ? AND app = ? AND workspace = ? AND commit_id = ? AND attempt = ? AND started_at = ?
                ORDER BY id LIMIT 1
                """,
            arguments: [scope.host, scope.app, scope.workspace, key.commit, key.attempt, key.startedAt.milliseconds]
        ).map { row in KnownDeployment(id: row[0], series: row[1], isRunning: row[2]) }
    }

    func newest(_ scope: Scope, below id: Int64?) throws -> Int64? {
        try Int64.fetchOne(
            db, sql: "SELECT max(id) FROM deployments WHERE host = ? AND workspace = ? AND id < ?",
            arguments: place(scope) + [id ?? .max])
    }

    func firstLater(_ scope: Scope, than time: Timestamp, after id: Int64) throws -> Int64? {
        try Int64.fetchOne(
            db,
            sql: "SELECT min(id) FROM deployments WHERE host = ? AND workspace = ? AND id > ? AND started_at > ?",
            arguments: place(scope) + [id, time.milliseconds])
    }

    func isUsed(deployment id: Int64) throws -> Bool {
        try exists("deployments WHERE id = ?", [id]) || exists("deployments WHERE series = ?", [id])
    }

    func hasSeries(_ series: Int64, of deployment: Deployment) throws -> Bool {
        let scope = deployment.scope
        return try exists(
            "deployments WHERE series = ? AND host = ? AND app = ? AND workspace = ? AND commit_id = ?",
            [series, scope.host, scope.app, scope.workspace, deployment.commit])
    }

    func lastRun(_ scope: Scope, below deployment: Int64) throws -> Int64? {
        try Int64.fetchOne(
            db,
            sql: """
                SELECT max(id) FROM runs WHERE \(RunParent.isDeployment) AND parent = (
                    SELECT id FROM deployments WHERE host = ? AND workspace = ? AND id < ?
                    AND EXISTS (SELECT 1 FROM runs WHERE \(RunParent.isDeployment) AND parent = deployments.id)
                    ORDER BY id DESC LIMIT 1)
                """, arguments: place(scope) + [deployment])
    }

    func isUsed(run id: Int64) throws -> Bool { try exists("runs WHERE id = ?", [id]) }

    func isUsed(notification id: Int64) throws -> Bool { try exists("notifications WHERE id = ?", [id]) }

    func run(marker: String) throws -> Int64? {
        try Int64.fetchOne(db, sql: "SELECT min(id) FROM runs WHERE marker = ?", arguments: [marker])
    }

    func newestAlone(_ place: Scope) throws -> Int64? {
        try Int64.fetchOne(
            db, sql: "SELECT max(id) FROM runs WHERE host = ? AND app = ? AND workspace = ? AND parent IS NULL",
            arguments: [place.host, place.app, place.workspace])
    }

    func isRunning(run id: Int64) throws -> Bool { try exists("runs WHERE id = ? AND status = 'running'", [id]) }

    private func exists(_ rows: String, _ arguments: StatementArguments) throws -> Bool {
        try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM \(rows))", arguments: arguments) ?? false
    }

    private func place(_ scope: Scope) -> StatementArguments { [scope.host, scope.workspace] }
}

import Ledger
import LedgerPostgres
import Postgres
import TestSupport
import Testing

/// Databases that are not as most are.
@Suite(.timeLimit(.minutes(2)))
struct PostgresDatabaseTests {
    /// Runs statements as the superuser.
    private func run(_ database: String, _ statements: String...) async throws {
        let url = try await StoreFactory.cluster.value.url(database: database)
        let connection = try await PostgresConnection(ConnectionString(url))
        for statement in statements { try await connection.run { try $0.query(statement) } }
    }

    private func ledger(_ database: String) async throws -> PostgresLedger {
        let string = try ConnectionString(await StoreFactory.cluster.value.url(database: database))
        return PostgresLedger { string }
    }

    private func makeDatabase(_ options: String = "") async throws -> String {
        try await StoreFactory.cluster.value.makeDatabase(options)
    }

    // MARK: - Publications

    @Test("each table has a primary key", arguments: StoreFactory.allCases)
    func keys(kind: StoreFactory) async throws {
        let folder = try TemporaryFolder()
        let without: String
        switch kind {
        case .sqlite:
            let store = try await kind.make(in: folder)
            try await store.runTask("t-v1", .succeeded)
            without = try await shell(
                #"""
                python3 - <<'EOF'
                import sqlite3
                db = sqlite3.connect("ledger.sqlite")
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"):
                    if not any(column[5] for column in db.execute(f"PRAGMA table_info({name})")): print(name)
                EOF
                """#, in: folder.path
            ).output
        case .postgresql, .pooled:
            let database = try await makeDatabase()
            let store = try await ledger(database)
            try await store.runTask("t-v1", .succeeded)
            let url = try await StoreFactory.cluster.value.url(database: database)
            without = try await PostgresConnection(ConnectionString(url)).run { session in
                try session.query(
                    """
                    SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                    WHERE nspname = 'deploy_agent' AND relkind IN ('r', 'p')
                    AND NOT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)
                    """
                ).rows.map { try $0.get(0, as: String.self) }.joined(separator: " ")
            }
        }
        #expect(without.isEmpty, "\(without)")
    }

    @Test("a publication for all tables is no obstacle, made before the record or after it", arguments: [true, false])
    func publication(isFirst: Bool) async throws {
        let database = try await makeDatabase()
        if isFirst { try await run(database, "CREATE PUBLICATION changes FOR ALL TABLES") }
        let first = try await ledger(database)
        let scope = DeploymentDraft.sample().scope
        let failed = try await first.settle(.sample(), .sample(.failed))
        if !isFirst { try await run(database, "CREATE PUBLICATION changes FOR ALL TABLES") }
        // As an agent that comes to it, and all that deletes.
        let ledger = try await ledger(database)
        try await ledger.runTask("t-v1", .succeeded)
        try await ledger.makeDue(failed.id)
        try await ledger.write([.notify(deployment: failed.id, at: .now)])
        let notification = try #require(try await ledger.nextNotification(scope))
        try await ledger.write([.removeNotification(notification.id)])
        for commit in ["b", "c"] { try await ledger.settle(.sample(commit: commit)) }
        #expect(try await ledger.prune(scope, keep: 1, limit: 10).count == 2)
        _ = try await ledger.record(
            TaskAction(.reset, app: "shop", task: "t-v1", digest: nil, user: "u", host: "h", at: .now))
        #expect(try await ledger.doneTasks(after: nil, limit: 9).isEmpty)
        // The next step of the tables begins with this.
        try await run(
            database, "DELETE FROM deploy_agent.schema_version", "INSERT INTO deploy_agent.schema_version VALUES (1)")
    }

    @Test("a record is copied into a database with such a publication")
    func copy() async throws {
        let database = try await makeDatabase()
        try await run(database, "CREATE PUBLICATION changes FOR ALL TABLES")
        let folder = try TemporaryFolder()
        let source = try await StoreFactory.sqlite.make(in: folder)
        try await source.settle(.sample())
        let target = try await ledger(database)
        #expect(try await target.copy(source).deployments == 1)
        try await target.insert(source.members())
    }
}

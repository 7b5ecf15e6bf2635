import Ledger
import LedgerPostgres
import LedgerSQLite
import Postgres
import TestSupport
import Testing

/// Databases that are not as most are: another encoding, publications, rules of somebody's.
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

    // MARK: - Encodings

    @Test(
        "a database whose encoding lacks characters is refused at once, with what to do, and nothing is made in it",
        arguments: ["LATIN1", "WIN1252", "LATIN9", "EUC_JP"])
    func encoding(name: String) async throws {
        let database = try await makeDatabase("ENCODING \(name) TEMPLATE template0")
        let ledger = try await ledger(database)
        for use in [
            { _ = try await ledger.begin(.sample(), firstRun: nil) }, { _ = try await ledger.exists() },
            { _ = try await ledger.inspect() }, { _ = try await ledger.identity() },
        ] as [() async throws -> Void] {
            let error = await #expect(throws: LedgerError.self) { try await use() }
            #expect(error?.code == .unsuitable && error?.isTransient == false && error?.isFinal == true)
            let text = error?.description ?? ""
            #expect(text.contains("encoding is \(name)") && text.contains("ENCODING 'UTF8'"), "\(text)")
        }
        let url = try await StoreFactory.cluster.value.url(database: database)
        let made = try await PostgresConnection(ConnectionString(url)).run { session in
            try session.query("SELECT nspname FROM pg_namespace WHERE nspname = 'deploy_agent'").rows.count
        }
        #expect(made == 0)
    }

    @Test("one that takes all bytes gives back what was printed")
    func allBytes() async throws {
        let ledger = try await ledger(makeDatabase("ENCODING SQL_ASCII TEMPLATE template0"))
        let (deployment, run) = try await ledger.begin(.sample(app: "süß")) { .sample(parent: $0) }
        var result = RunResult.sample(.succeeded)
        result.outputTail = "built ✓ 😀 ä"
        try await ledger.write([.completeRun(try #require(run).id, result)])
        #expect(try await ledger.outputTail(run: run?.id ?? 0) == "built ✓ 😀 ä")
        #expect(try await ledger.deployment(deployment.id)?.scope.app == "süß")
    }

    // MARK: - Refusals

    @Test("an end is on record without its text where a rule refuses that text for good")
    func refusedText() async throws {
        let database = try await makeDatabase()
        let ledger = try await ledger(database)
        let (deployment, first) = try await ledger.begin(.sample()) { .sample(parent: $0) }
        try await run(
            database, "ALTER TABLE deploy_agent.run_outputs ADD CHECK (tail NOT LIKE '%✓%')",
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.error_message LIKE '%✓%' THEN RAISE 'no'; END IF; RETURN NEW; END $$
            """,
            "CREATE TRIGGER refuse BEFORE UPDATE ON deploy_agent.deployments FOR EACH ROW EXECUTE FUNCTION refuse()")
        var result = RunResult.sample(.failed, exitCode: 3)
        result.outputTail = "built ✓"
        var end = DeploymentResult.sample(.failed, retryAt: 9)
        end.errorMessage = "it said ✓"
        try await ledger.write([.completeRun(try #require(first).id, result), .completeDeployment(deployment.id, end)])
        let run = try #require(try await ledger.runs(deployment: deployment.id).first)
        #expect(run.status == .failed && run.exitCode == 3)
        #expect(try await ledger.outputTail(run: run.id).contains("does not take this text"))
        let ended = try #require(try await ledger.deployment(deployment.id))
        #expect(ended.status == .failed && ended.errorMessage?.contains("does not take this text") == true)
        // What recovery writes of a run that nobody ended, and what ends a task and its lease.
        let abandoned = try await ledger.write([.beginRun(.sample(parent: deployment.id))])[0]
        result.status = .interrupted
        try await ledger.write([.abandonRun(abandoned.id, result)])
        #expect(try await ledger.run(abandoned.id)?.status == .interrupted)
        guard case .granted(let lease, let task, _) = try await ledger.claimTask("t-v1") else {
            throw PreparationFailed("not granted")
        }
        result.status = .succeeded
        let failures = try await ledger.complete(
            ClaimResult(lease: lease, commit: "a", task: "t-v1", run: task.id, result: result, retryIn: nil))
        #expect(failures == 0)
        #expect(try await ledger.run(task.id)?.status == .succeeded)
        #expect(try await ledger.doneTasks(after: nil, limit: 9).map(\.id) == ["t-v1"])
    }

    @Test("what cannot be on record at all is refused for good, with the server's words and without the value")
    func refused() async throws {
        let database = try await makeDatabase()
        let ledger = try await ledger(database)
        _ = try await ledger.begin(.sample(), firstRun: nil)
        try await run(database, "ALTER TABLE deploy_agent.deployments ADD CHECK (subject NOT LIKE '%z0%')")
        let error = await #expect(throws: LedgerError.self) {
            try await ledger.begin(.sample(commit: "z0mmit"), firstRun: nil)
        }
        #expect(error?.code == .refused && error?.isForGood == true && error?.isFinal == true)
        #expect(error?.description.contains("23514") == true && error?.description.contains("z0mmit") == false)
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
            database, "DELETE FROM deploy_agent.schema_version",
            "INSERT INTO deploy_agent.schema_version VALUES (10, 10)")
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

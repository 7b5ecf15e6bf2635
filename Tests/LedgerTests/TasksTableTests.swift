import Ledger
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import LedgerPostgres

/// A table of done tasks that another program made.
@Suite(.timeLimit(.minutes(2)))
struct TasksTableTests {
    private let name = uniqueText()
    private var table: String { "public.\(name)" }

    private func store(_ change: (ConnectionString) -> ConnectionString = { $0 }) async throws -> PostgresLedger {
        let string = change(try ConnectionString(await StoreFactory.cluster.value.url()))
        return PostgresLedger(schema: uniqueText(), tasksTable: table) { string }
    }

    private func sql(_ statements: String...) async throws {
        let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
        for statement in statements { try await administrator.run { try $0.query(statement) } }
    }

    private func rows() async throws -> [[String?]] {
        let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
        let table = table
        return try await administrator.run { session in
            try session.query(
                "SELECT id::text, (completed_at IS NOT NULL)::text, result::text FROM \(table) ORDER BY id"
            )
            .rows.map { [try $0.optional(0), try $0.optional(1), try $0.optional(2)] }
        }
    }

    @Test(
        "it is used as it is: what it has as done stays done, what is done here is added",
        arguments: [
            "id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT",
            "id VARCHAR(100), completed_at TIMESTAMP, result VARCHAR(200)",
            "id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ DEFAULT now(), result TEXT, more INTEGER",
        ])
    func asItIs(columns: String) async throws {
        try await sql(
            "CREATE TABLE \(table) (\(columns))",
            "INSERT INTO \(table) (id, completed_at, result) VALUES ('old-v1', now(), 'fine'), ('tried-v1', NULL, 'no')"
        )
        let store = try await store()
        let entries = ["old-v1", "tried-v1", "new-v1", "bad-v1"].map { TaskEntry(id: $0, digest: "d") }
        #expect(try await Set(store.toDo(entries, app: "shop").map(\.id)) == ["tried-v1", "new-v1", "bad-v1"])
        guard case .done(nil, nil, let result, 0, nil) = try await store.claimTask("old-v1") else {
            throw PreparationFailed("it is run again")
        }
        #expect(result.status == .succeeded)
        for id in ["tried-v1", "new-v1"] { try await store.runTask(id, .succeeded) }
        try await store.runTask("bad-v1", .failed)
        #expect(
            try await rows() == [
                ["bad-v1", "false", String(repeating: "é", count: 200)], ["new-v1", "true", "success"],
                ["old-v1", "true", "fine"], ["tried-v1", "true", "success"],
            ])
    }

    @Test("where every row must have a time, only what is done gets one")
    func required() async throws {
        try await sql("CREATE TABLE \(table) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ NOT NULL, result TEXT)")
        let store = try await store()
        try await store.runTask("bad-v1", .failed)
        try await store.runTask("new-v1", .succeeded)
        #expect(try await rows() == [["new-v1", "true", "success"]])
        #expect(try await store.tasks().map(\.isDone) == [false, true])
    }

    @Test("it is made where there is none; by many at once, too")
    func made() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { _ = try await self.store().toDo([TaskEntry(id: "a", digest: "d")], app: "shop") }
            }
            try await group.waitForAll()
        }
        #expect(try await rows() == [])
    }

    @Test(
        "a task whose row it does not take is not begun, whatever it is that refuses; another one is",
        arguments: [
            "id VARCHAR(8) PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT",
            "id TEXT PRIMARY KEY CHECK (length(id) < 9), completed_at TIMESTAMPTZ, result TEXT",
            "id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT, more TEXT GENERATED ALWAYS AS (id::varchar(8)) STORED "
                + "CHECK (more = id)",
        ])
    func refused(columns: String) async throws {
        try await sql("CREATE TABLE \(table) (\(columns))")
        let store = try await store()
        let error = await #expect(throws: LedgerError.self) { try await store.claimTask("much-too-long-v1") }
        #expect(error?.code == .foreign && error?.description.contains("much-too-long-v1") == true, "\(error as Any)")
        try await store.runTask("short-v1", .succeeded)
        #expect(try await rows() == [["short-v1", "true", "success"]])
    }

    @Test("what it checks at the end of a transaction only is found out before a task runs, too")
    func deferred() async throws {
        try await sql(
            "CREATE TABLE \(table)_known (id TEXT PRIMARY KEY)", "INSERT INTO \(table)_known VALUES ('known-v1')",
            """
            CREATE TABLE \(table) (id TEXT REFERENCES \(table)_known DEFERRABLE INITIALLY DEFERRED,
                completed_at TIMESTAMPTZ, result TEXT)
            """)
        let store = try await store()
        let error = await #expect(throws: LedgerError.self) { try await store.claimTask("other-v1") }
        #expect(error?.code == .foreign, "\(error as Any)")
        try await store.runTask("known-v1", .succeeded)
        #expect(try await rows() == [["known-v1", "true", "success"]])
    }

    @Test(
        "a task whose row a trigger makes away with, or empties, is not begun either",
        arguments: ["RETURN NULL;", "NEW.completed_at := NULL; RETURN NEW;"])
    func silent(body: String) async throws {
        try await sql(
            "CREATE TABLE \(table) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)", trigger(body),
            "CREATE TRIGGER t BEFORE INSERT ON \(table) FOR EACH ROW EXECUTE FUNCTION \(table)_trigger()")
        let error = await #expect(throws: LedgerError.self) { try await store().claimTask("new-v1") }
        #expect(error?.code == .foreign, "\(error as Any)")
    }

    private func trigger(_ body: String) -> String {
        "CREATE FUNCTION \(table)_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \(body) END $$"
    }

    @Test("a failure is never taken for done, whatever the table makes of it, and never lost")
    func failures() async throws {
        try await sql(
            "CREATE TABLE \(table)_results (result TEXT PRIMARY KEY)",
            "INSERT INTO \(table)_results VALUES ('success')",
            """
            CREATE TABLE \(table) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ,
                result TEXT REFERENCES \(table)_results DEFERRABLE INITIALLY DEFERRED)
            """)
        let store = try await store()
        try await store.runTask("bad-v1", .failed)
        try await sql(
            "ALTER TABLE \(table) DROP CONSTRAINT \(name)_result_fkey",
            trigger("NEW.completed_at := now(); RETURN NEW;"))
        try await sql("CREATE TRIGGER t BEFORE INSERT ON \(table) FOR EACH ROW EXECUTE FUNCTION \(table)_trigger()")
        try await store.runTask("worse-v1", .failed)
        #expect(try await rows() == [])
        #expect(try await store.tasks().map(\.outcome?.failures) == [1, 1])
    }

    @Test("a result that comes after a restart finds the table that it was begun with")
    func restarted() async throws {
        let folded = name.lowercased()
        try await sql("CREATE TABLE public.\(folded) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)")
        let string = try ConnectionString(await StoreFactory.cluster.value.url())
        let schema = uniqueText()
        func open() -> PostgresLedger {
            PostgresLedger(schema: schema, tasksTable: folded.uppercased()) { string }
        }
        guard case .granted(let lease, let run, _) = try await open().claimTask("new-v1") else {
            throw PreparationFailed("not granted")
        }
        let counted = try await open().complete(
            ClaimResult(
                lease: lease, commit: "a", task: "new-v1", run: run.id, result: .sample(.succeeded), retryIn: nil))
        #expect(counted == 0)
        #expect(try await rows() == [["new-v1", "true", "success"]])
    }

    @Test("a failure that it has no room for stands in the agent's record alone")
    func noRoom() async throws {
        try await sql("CREATE TABLE \(table) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result VARCHAR(10))")
        let store = try await store()
        try await store.runTask("bad-v1", .failed)
        #expect(try await rows() == [])
        #expect(try await store.tasks().map(\.outcome?.failures) == [1])
    }

    @Test("a name is taken as it stands, or as SQL takes one without quotes; what was not there is told of")
    func names() async throws {
        let folded = name.lowercased()
        try await sql(
            "CREATE TABLE public.\(folded) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)",
            "INSERT INTO public.\(folded) VALUES ('old-v1', now(), 'success')")
        let string = try ConnectionString(await StoreFactory.cluster.value.url())
        let made = Mutex<[String]>([])
        func open(_ name: String) -> PostgresLedger {
            PostgresLedger(schema: uniqueText(), tasksTable: name) { name in
                made.withLock { $0.append(name) }
            } _: {
                string
            }
        }
        let entries = [TaskEntry(id: "old-v1", digest: "d")]
        #expect(try await open(folded.uppercased()).toDo(entries, app: "shop").isEmpty)
        #expect(made.withLock { $0 } == [])
        #expect(try await open("public.No_\(folded)").toDo(entries, app: "shop").count == 1)
        #expect(made.withLock { $0 } == ["\"public\".\"No_\(folded)\""])
    }

    @Test("one that was dropped meanwhile is made anew")
    func dropped() async throws {
        let store = try await store()
        try await store.runTask("new-v1", .succeeded)
        try await sql("DROP TABLE \(table)")
        _ = try? await store.toDo([TaskEntry(id: "new-v1", digest: "d")], app: "shop")
        #expect(try await store.toDo([TaskEntry(id: "new-v1", digest: "d")], app: "shop").count == 1)
    }

    @Test("one without its columns is refused, by name")
    func foreign() async throws {
        try await sql("CREATE TABLE \(table) (id TEXT, at TIMESTAMPTZ)")
        let store = try await store()
        let error = await #expect(throws: LedgerError.self) {
            try await store.toDo([TaskEntry(id: "a", digest: "d")], app: "shop")
        }
        #expect(error?.code == .foreign)
        #expect(error?.description.contains("no column completed_at, result") == true)
    }

    @Test("what could not be noted afterwards is not begun: without the right to write, or on a read-only database")
    func rights() async throws {
        try await sql(
            "CREATE TABLE \(table) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)",
            "CREATE ROLE \(name) LOGIN PASSWORD 's3cret'", "GRANT CREATE ON DATABASE postgres TO \(name)",
            "GRANT SELECT ON \(table) TO \(name)")
        let name = name
        let reader = try await store { $0.with("user", name) }
        #expect(try await reader.toDo([TaskEntry(id: "a", digest: "d")], app: "shop").count == 1)
        let error = await #expect(throws: LedgerError.self) { try await reader.claimTask("a") }
        #expect(error?.code == .forbidden && error?.description.contains("GRANT SELECT, INSERT, UPDATE") == true)
        let string = try ConnectionString(await StoreFactory.cluster.value.url())
        let schema = uniqueText()
        let table = table
        func open(_ options: String) -> PostgresLedger {
            PostgresLedger(schema: schema, tasksTable: table) { string.with("options", options) }
        }
        // With all tables made.
        try await open("").runTask("b", .failed)
        let refused = await #expect(throws: LedgerError.self) {
            try await open("-c default_transaction_read_only=on").claimTask("a")
        }
        #expect(refused?.isTransient == true && refused?.description.contains("read-only") == true, "\(refused as Any)")
    }
}

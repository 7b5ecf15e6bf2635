import GRDB
import Ledger
import TestSupport
import Testing

@testable import LedgerSQLite

/// A table of done tasks that somebody made by hand.
@Suite(.timeLimit(.minutes(1)))
struct SQLiteTasksTableTests {
    let folder: TemporaryFolder
    var path: String { folder.path + "/ledger.sqlite" }

    init() throws {
        folder = try TemporaryFolder()
    }

    private func make(_ columns: String) throws -> SQLiteLedger {
        let ledger = try SQLiteLedger(path: path)
        let queue = try DatabaseQueue(path: path)
        try queue.write { db in try db.execute(sql: "CREATE TABLE deploy_tasks (\(columns))") }
        try queue.close()
        return ledger
    }

    @Test(
        "a task whose row the table does not take is not begun; a failure that it does not take stands in the record alone"
    )
    func handMade() async throws {
        let ledger = try make(
            "id TEXT PRIMARY KEY CHECK (length(id) < 9), completed_at TIMESTAMPTZ NOT NULL, result TEXT")
        let error = await #expect(throws: LedgerError.self) { try await ledger.claimTask("much-too-long-v1") }
        #expect(error?.code == .foreign && error?.description.contains("much-too-long-v1") == true, "\(error as Any)")
        try await ledger.runTask("bad-v1", .failed)
        try await ledger.runTask("short-v1", .succeeded)
        let records = try await ledger.tasks()
        #expect(records.map(\.id) == ["bad-v1", "short-v1"] && records.map(\.isDone) == [false, true])
        #expect(records.map(\.outcome?.failures) == [1, 0])
    }

    @Test("a table without the columns is refused, by name")
    func wrongColumns() async throws {
        let ledger = try make("id TEXT PRIMARY KEY, at TEXT")
        let error = await #expect(throws: LedgerError.self) {
            try await ledger.toDo([TaskEntry(id: "a", digest: "d")], app: "shop")
        }
        #expect(error?.code == .foreign && error?.description.contains("no column completed_at, result") == true)
        let listed = await #expect(throws: LedgerError.self) { try await ledger.tasks() }
        let copied = await #expect(throws: LedgerError.self) { try await ledger.doneTasks(after: nil, limit: 1) }
        #expect(listed?.code == .foreign && copied?.code == .foreign)
    }

    @Test("a task whose row a trigger leaves out is not begun; a failure that one makes a success of is none")
    func triggers() async throws {
        let ledger = try make("id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT")
        let queue = try DatabaseQueue(path: path)
        try await queue.write { db in
            try db.execute(
                sql: """
                    CREATE TRIGGER lost BEFORE INSERT ON deploy_tasks WHEN NEW.id = 'lost-v1' BEGIN SELECT RAISE(IGNORE); END;
                    CREATE TRIGGER done AFTER INSERT ON deploy_tasks WHEN NEW.id = 'bad-v1'
                    BEGIN UPDATE deploy_tasks SET completed_at = 'now' WHERE id = NEW.id; END;
                    """)
        }
        let error = await #expect(throws: LedgerError.self) { try await ledger.claimTask("lost-v1") }
        #expect(error?.code == .foreign && error?.description.contains("lost-v1") == true, "\(error as Any)")
        try await ledger.runTask("bad-v1", .failed)
        let record = try #require(try await ledger.tasks().first)
        #expect(!record.isDone && record.outcome?.failures == 1)
    }

    @Test("a lease ends by the time since the machine's start; one of an earlier start is over")
    func clock() {
        let now = LeaseClock.now
        let remaining = LeaseClock.remaining(until: now + 5000, boot: LeaseClock.boot)
        #expect(remaining.map { $0 > .seconds(4) && $0 <= .seconds(5) } == true)
        #expect(LeaseClock.remaining(until: now - 1, boot: LeaseClock.boot) == nil)
        #expect(LeaseClock.remaining(until: now + 5000, boot: "another start") == nil)
        #expect(LeaseClock.remaining(until: now + 60_000, boot: LeaseClock.boot) == nil)
        #expect(LeaseClock.remaining(until: nil, boot: nil) == nil)
    }
}

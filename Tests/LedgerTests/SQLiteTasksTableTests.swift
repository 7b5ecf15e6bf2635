import GRDB
import Ledger
import LedgerSQLite
import TestSupport
import Testing

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

    private func claim(_ ledger: SQLiteLedger, _ id: String) async throws -> ClaimAnswer {
        var run = RunDraft.sample(id, parent: 0)
        run.kind = .task
        return try await ledger.claim(
            ClaimRequest(
                scope: DeploymentDraft.sample().scope, commit: "a", holder: "p", run: run, retries: nil,
                isLenient: false, ignoresBackoff: true, isForced: false))
    }

    private func run(_ ledger: SQLiteLedger, _ id: String, _ status: RunStatus) async throws {
        guard case .granted(let lease, let run, _) = try await claim(ledger, id) else {
            throw PreparationFailed("not granted")
        }
        _ = try await ledger.complete(
            ClaimResult(
                lease: lease, commit: "a", task: id, run: run.id, result: .sample(status, exitCode: nil), retryIn: nil))
    }

    @Test(
        "a task whose row the table does not take is not begun; a failure that it does not take stands in the record alone"
    )
    func handMade() async throws {
        let ledger = try make(
            "id TEXT PRIMARY KEY CHECK (length(id) < 9), completed_at TIMESTAMPTZ NOT NULL, result TEXT")
        let error = await #expect(throws: LedgerError.self) { try await claim(ledger, "much-too-long-v1") }
        #expect(error?.code == .foreign && error?.description.contains("much-too-long-v1") == true, "\(error as Any)")
        try await run(ledger, "bad-v1", .failed)
        try await run(ledger, "short-v1", .succeeded)
        let records = try await ledger.tasks(app: "shop")
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
    }
}

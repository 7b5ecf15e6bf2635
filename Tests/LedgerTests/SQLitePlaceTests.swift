import Foundation
import Ledger
import LedgerSQLite
import TestSupport
import Testing

/// A ledger whose file is removed or replaced while it is open.
@Suite(.timeLimit(.minutes(1)))
struct SQLitePlaceTests {
    let folder: TemporaryFolder
    var path: String { folder.path + "/ledger.sqlite" }

    init() throws { folder = try TemporaryFolder() }

    /// What people and cleaners do.
    private static let removals = [
        "rm ledger.sqlite*", "rm ledger.sqlite", "mv ledger.sqlite elsewhere", "cp ledger.sqlite x; mv x ledger.sqlite",
        "rm ledger.sqlite-wal", "rm ledger.sqlite-shm", "rm ledger.sqlite-wal ledger.sqlite-shm",
    ]

    @Test("it is noticed, and nothing is written where nobody finds it", arguments: removals)
    func noticed(removal: String) async throws {
        let store = try SQLiteLedger(path: path)
        let deployment = try await store.settle(.sample(), .sample(.failed))
        guard case .granted(let lease, let run, _) = try await store.claimTask("t-v1") else {
            throw PreparationFailed("not granted")
        }
        #expect(store.isInPlace)
        #expect(try await shell("\(removal) && echo done", in: folder.path).output == "done\n")
        #expect(!store.isInPlace)
        for write in [
            { _ = try await store.begin(.sample(commit: "b"), firstRun: nil) },
            { try await store.write([.beginRun(.sample(parent: deployment.id))]) },
            { _ = try await store.claimTask("u-v1") }, { try await store.makeDue(deployment.id) },
            {
                _ = try await store.complete(
                    ClaimResult(
                        lease: lease, commit: "a", task: "t-v1", run: run.id, result: .sample(.succeeded), retryIn: nil)
                )
            },
        ] as [() async throws -> Void] {
            let error = await #expect(throws: LedgerError.self) { try await write() }
            #expect(error?.code == .replaced && error?.isTransient == false && error?.location == path)
        }
        // The run under it goes on to its end.
        #expect(try await store.renew(lease))
        store.close()
    }

    @Test(
        "a ledger whose journal alone was removed has all of it once it is closed and opened anew",
        arguments: removals.filter { $0.contains("-") && !$0.contains("*") })
    func journal(removal: String) async throws {
        let store = try SQLiteLedger(path: path)
        for commit in ["a", "b", "c"] { try await store.settle(.sample(commit: commit)) }
        _ = try await shell(removal, in: folder.path)
        #expect(!store.isInPlace)
        store.close()
        let next = try SQLiteLedger(path: path)
        #expect(next.isInPlace)
        #expect(try await next.all().map(\.commit) == ["a", "b", "c"])
        try await next.settle(.sample(commit: "d"))
        #expect(try await SQLiteLedger(path: path).all().map(\.commit) == ["a", "b", "c", "d"])
    }

    @Test("others that use it and go again leave it where it is")
    func others() async throws {
        let store = try SQLiteLedger(path: path)
        try await store.settle(.sample())
        do {
            let other = try SQLiteLedger(path: path)
            try await other.settle(.sample(commit: "b"))
            other.close()
        }
        let result = try await shell(
            #"""
            python3 - <<'EOF'
            import sqlite3
            db = sqlite3.connect("ledger.sqlite", isolation_level=None)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("VACUUM")
            db.close()
            print("done")
            EOF
            """#, in: folder.path)
        #expect(result.output == "done\n")
        #expect(store.isInPlace)
        try await store.settle(.sample(commit: "c"))
        #expect(try await store.all().count == 3)
    }
}

import Glibc
import Ledger
import LedgerSQLite
import Logging
import Shell
import Synchronization
import TestSupport
import Testing

@testable import Execution

/// How long the record is asked before something starts that needs it.
struct LedgerWriterTests {
    private let unreachable = LedgerError(.unreachable, operation: "read", location: "x", explanation: "away")

    private func attempts(of error: LedgerError, within limit: Duration) async throws -> Int {
        let folder = try TemporaryFolder()
        let ledger = try SQLiteLedger(path: folder.path + "/ledger.sqlite")
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let writer = LedgerWriter(
            ledger: ledger, spool: Spool(folder: folder.path + "/spool", logger: logger), logger: logger, stop: nil)
        let count = Atomic(0)
        let thrown = await #expect(throws: LedgerError.self) {
            try await writer.ask(within: limit) { () -> Int in
                count.add(1, ordering: .relaxed)
                throw error
            }
        }
        #expect(thrown?.code == error.code)
        return count.load(ordering: .relaxed)
    }

    @Test("no attempt begins after the limit, however long one takes: pauses of 0.1 s, 0.4 s and 2 s")
    func limit() async throws {
        #expect(try await attempts(of: unreachable, within: .milliseconds(50)) == 1)
        #expect(try await attempts(of: unreachable, within: .milliseconds(480)) == 2)
        #expect(try await attempts(of: unreachable, within: .milliseconds(2400)) == 3)
    }

    /// One that answers every end of a run with an error.
    private struct Refusing: LeaseStore {
        let error: LedgerError
        let count = Count()

        final class Count: Sendable { let value = Atomic(0) }

        func claim(_ request: ClaimRequest) async throws -> ClaimAnswer { throw error }
        func renew(_ lease: Lease) async throws -> Bool { true }
        func complete(_ result: ClaimResult) async throws -> Int? {
            count.value.add(1, ordering: .relaxed)
            throw error
        }
        func leaseChanges(app: String) -> any LeaseChanges { Nothing() }
        struct Nothing: LeaseChanges { func next(after held: HeldBy) async {} }
    }

    @Test(
        "an end that the record refuses for good is tried once, not for a minute in which its lease would be over",
        arguments: [LedgerError.Code.refused, .replaced, .unsuitable])
    func refused(code: LedgerError.Code) async throws {
        let folder = try TemporaryFolder()
        let ledger = try SQLiteLedger(path: folder.path + "/ledger.sqlite")
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let spool = folder.path + "/spool"
        let writer = LedgerWriter(
            ledger: ledger, spool: Spool(folder: spool, logger: logger), logger: logger, stop: nil)
        let store = Refusing(error: LedgerError(code, operation: "write", location: "x", explanation: "no"))
        let result = ClaimResult(
            lease: Lease(app: "", name: "task:t", fence: 1, holder: "h"), commit: "a", task: "t", run: 1,
            result: RunResult(status: .succeeded, completedAt: .now), retryIn: nil)
        let error = await #expect(throws: LedgerError.self) { try await writer.complete(result, in: store) }
        #expect(error?.code == code && store.count.value.load(ordering: .relaxed) == 1)
        #expect(access(spool, F_OK) != 0, "it is kept for another record than the one it is of")
    }

    @Test("what a person has to do something about is not tried again")
    func final() async throws {
        let forbidden = LedgerError(.forbidden, operation: "write", location: "x", explanation: "no right")
        #expect(try await attempts(of: forbidden, within: .seconds(60)) == 1)
    }
}

import Ledger
import LedgerSQLite
import Logging
import Shell
import Synchronization
import TestSupport
import Testing

@testable import DeployAgent

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

    @Test("what a person has to do something about is not tried again")
    func final() async throws {
        let forbidden = LedgerError(.forbidden, operation: "write", location: "x", explanation: "no right")
        #expect(try await attempts(of: forbidden, within: .seconds(60)) == 1)
    }
}

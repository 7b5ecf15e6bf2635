import Foundation
import Ledger
import LedgerSQLite
import Logging
import TestSupport
import Testing

@testable import Execution

private let goldenFolder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
private let goldenFiles: [String] =
    (try? FileManager.default.contentsOfDirectory(atPath: goldenFolder.path))?.sorted() ?? []

/// What lies in the spool is read by every later agent. The files in `Golden` are of agents that were given away: none is changed,
/// and each new form gets one of its own.
@Suite struct SpoolFormatTests {
    private static let draft = RunDraft(
        kind: .task, name: "seed-v1", parent: .deployment(7),
        place: Scope(app: "shop", host: "web-1", workspace: "/srv/shop"), worker: "w", marker: "0123abcd",
        command: "psql -f \"seed\".sql", folder: "db", mode: "lenient", timeout: .milliseconds(90_500), attempt: 2,
        startedAt: Timestamp(milliseconds: 1_790_000_000_123), scope: .fleet, digest: "d1", hookCommit: "c0ffee")
    private static let plain = RunDraft(
        kind: .hook, name: "PRE_DEPLOY", parent: nil,
        place: Scope(app: "shop", host: "web-1", workspace: "/srv/shop"), marker: "m", command: "true", folder: ".",
        mode: "strict", timeout: .seconds(300), attempt: 1, startedAt: Timestamp(milliseconds: 1))
    private static let failed = RunResult(
        status: .timedOut, exitCode: nil, signal: 9, completedAt: Timestamp(milliseconds: 1_790_000_090_000),
        outputTail: "línea\n\"2\"\u{FFFD}\n", errorMessage: "did not finish")

    /// One of each kind of entry, with all that it may hold.
    static let batch = Spool.Batch(
        ledger: "record-1",
        entries: [
            .beginRun(draft), .beginRun(plain), .completeRun(11, failed),
            .abandonRun(12, RunResult(status: .interrupted, completedAt: Timestamp(milliseconds: 2))),
            .adoptRun(draft, of: 9, failed.end), .adoptRun(plain, of: nil, failed.end), .publish(deployment: 7),
            .unpublish(deployment: 7),
            .completeDeployment(
                7,
                DeploymentResult(
                    status: .failed, settled: true, retryAt: Timestamp(milliseconds: 5), warnings: 2,
                    completedAt: Timestamp(milliseconds: 6), errorMessage: "e",
                    tasks: TaskCounts(ran: 1, skipped: 2, failed: 3, error: "t"))),
            .settle(deployment: 7), .notify(deployment: 7, at: Timestamp(milliseconds: 8)), .removeNotification(3),
            .postponeNotification(3, until: Timestamp(milliseconds: 9)),
        ],
        claim: ClaimResult(
            lease: Lease(app: "", name: "task:seed-v1", fence: 4, holder: "p"), commit: "abc", task: "seed-v1", run: 11,
            result: failed, retryIn: .milliseconds(1500)))

    private func text(_ batch: Spool.Batch) throws -> String {
        String(decoding: try SpoolFormat.data(batch), as: UTF8.self)
    }

    @Test("what is written is read again, every entry with all that it holds")
    func roundTrip() throws {
        let written = try SpoolFormat.data(Self.batch)
        let read = try SpoolFormat.batch(written)
        #expect("\(read)" == "\(Self.batch)")
        #expect(try text(read) == text(Self.batch))
    }

    @Test("files of earlier agents are read", arguments: goldenFiles)
    func golden(file: String) throws {
        let data = try Data(contentsOf: goldenFolder.appending(path: file))
        #expect("\(try SpoolFormat.batch(data))" == "\(Self.batch)")
    }

    @Test("there is one of the form that is written now")
    func current() throws {
        let file = goldenFolder.appending(path: "spool-\(SpoolFormat.version).json")
        let golden = try String(contentsOf: file, encoding: .utf8).trimmingCharacters(in: .newlines)
        #expect(try text(Self.batch) == golden)
    }

    @Test("fields of a later agent are passed over where the form is the same")
    func laterField() throws {
        let later = try text(Self.batch).replacing("\"kind\":\"settle\"", with: "\"kind\":\"settle\",\"later\":[1]")
        #expect(try text(SpoolFormat.batch(Data(later.utf8))) == text(Self.batch))
    }

    @Test(
        "what cannot be read waits, is said once, and holds up nothing else",
        arguments: [
            "", "{", "[]", "{\"version\":1}", "{\"version\":1,\"ledger\":\"x\",\"entries\":[{\"kind\":\"settle\"}]}",
            "{\"version\":1,\"ledger\":\"x\",\"entries\":[{\"kind\":\"later\",\"id\":1}]}",
            "{\"version\":2,\"later\":{}}",
        ])
    func unreadable(content: String) async throws {
        let folder = try TemporaryFolder()
        let ledger = try SQLiteLedger(path: folder.path + "/ledger.sqlite")
        let said = Said()
        let spool = Spool(folder: folder.path + "/spool", logger: Logger(label: "test") { _ in said })
        try folder.write("spool/000000000000-x.json", content)
        let identity = try await ledger.identity()
        #expect(spool.keep(Spool.Batch(ledger: identity, entries: [.settle(deployment: 1)])) != nil)
        try await spool.deliver(to: ledger)
        try await spool.deliver(to: ledger)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/spool") == ["000000000000-x.json"])
        let messages = said.messages.filter { $0.contains("000000000000-x.json") }
        #expect(
            messages.count == 1 && messages[0].contains("of a later agent") == content.contains(":2"), "\(messages)")
    }
}

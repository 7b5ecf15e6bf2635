import Foundation
import Ledger
import LedgerSQLite
import Shell
import TestSupport
import Testing

@testable import DeployAgent

/// What views of the record hold of a deployment with very many runs.
@Suite(.timeLimit(.minutes(1)))
struct RecordReaderTests {
    private let folder: TemporaryFolder
    private let scope = Scope(app: "shop", host: "h", workspace: "/w")

    init() throws { folder = try TemporaryFolder() }

    private func draft(_ name: String, _ parent: RunParent?) -> RunDraft {
        RunDraft(
            kind: .task, name: name, parent: parent, place: scope, marker: uniqueText(), command: "true", folder: ".",
            mode: "lenient", timeout: .seconds(1), attempt: 1, startedAt: Timestamp(milliseconds: 1))
    }

    @Test("as many runs as there are, with all that they printed, make a view of some megabytes")
    func bounds() async throws {
        let ledger = try SQLiteLedger(path: folder.path + "/ledger.sqlite")
        let environment = [
            "WORKSPACE_PATH": folder.path, "AGENT_STATE_DIR": folder.path + "/state", "HOME": folder.path,
            "AGENT_HOST": "h", "AGENT_APP": "shop",
        ]
        let session = try await AgentSession(
            origin: SettingsOrigin(options: [:], environment: ProcessEnvironment(environment)))
        let reader = RecordReader(session: session, InForce(session.settings, ledger))
        let deployment = try await ledger.begin(
            DeploymentDraft(
                scope: scope, commit: "c", subject: "", author: "", ref: nil, previousCommit: nil, trigger: .poll,
                attempt: 1, series: nil, startedAt: Timestamp(milliseconds: 1)), firstRun: nil
        ).deployment
        let runs = try await ledger.write((0..<300).map { .beginRun(draft("t\($0)", .deployment(deployment.id))) })
        let tail = String(repeating: "€", count: 64 * 1024 / 3)
        try await ledger.write(
            runs.map {
                .completeRun(
                    $0.id, RunResult(status: .succeeded, completedAt: Timestamp(milliseconds: 2), outputTail: tail))
            })
        let shown = try JSONEncoder().encode(try await reader.viewWithRuns(deployment))
        #expect(shown.count < 9 << 20 && shown.count > 7 << 20)
        let told = try JSONEncoder().encode(
            try await reader.viewWithRuns(deployment, outputLimit: OutputShare.notificationLimit))
        #expect(told.count < 2 << 20)
        // One run by itself is whole, also without a deployment.
        let alone = try await ledger.write([.beginRun(draft("alone", nil))])[0]
        try await ledger.write([
            .completeRun(
                alone.id, RunResult(status: .failed, completedAt: Timestamp(milliseconds: 2), outputTail: tail))
        ])
        let ended = try #require(try await reader.run(alone.id))
        #expect(try await reader.outputTail(ended) == tail)
        #expect(reader.logPath(ended)?.hasSuffix("/logs/\(alone.id).log") == true)
    }
}

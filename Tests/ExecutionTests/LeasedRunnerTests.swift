import Foundation
import Ledger
import LedgerSQLite
import Log
import Logging
import Shell
import Synchronization
import TestSupport
import Testing

@testable import Execution

/// A run under a lease, with real processes and a store whose answers the test gives.
@Suite(.timeLimit(.minutes(1)))
struct LeasedRunnerTests {
    private let temporary: TemporaryFolder
    private let runner: Runner
    private let writer: LedgerWriter
    private let clock = ManualClock()
    private let guardian = NotingGuard()
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init() throws {
        temporary = try TemporaryFolder()
        let state = StateDirectory(path: temporary.path + "/state")
        try state.prepare(for: temporary.path)
        let folder = state.workspace(temporary.path)
        let log = LogOutput(
            format: .text, level: .critical, secrets: Secrets(), environment: ProcessEnvironment([:]))
        runner = Runner(
            state: state, folder: folder, log: log, environment: .current, stop: StopSignal())
        writer = LedgerWriter(
            ledger: try SQLiteLedger(path: temporary.path + "/ledger.sqlite"),
            spool: Spool(folder: folder.path + "/spool", logger: logger), logger: logger, stop: runner.stop)
    }

    private let draft = RunDraft(
        kind: .hook, name: "PRE_DEPLOY", parent: .deployment(1),
        place: Scope(app: "shop", host: "h", workspace: "/w"), marker: Runner.newMarker(), command: "c", folder: ".",
        mode: "strict", timeout: .seconds(20), attempt: 1, startedAt: .now, scope: .fleet)

    private func granted() -> ClaimAnswer {
        .granted(
            Lease(app: "shop", name: "PRE_DEPLOY", fence: 7, holder: "p"), Run(id: 5, draft: draft, fence: 7),
            failures: 0)
    }

    private func run(
        _ command: String, in folder: String = ".", shell: String = "/bin/sh", _ store: ScriptedLeases,
        hasGuard: Bool = true
    ) async throws -> LeasedRunner.Outcome {
        var leased = LeasedRunner(
            store: store,
            command: RunCommand(
                title: "PRE_DEPLOY", text: command, folder: folder, folderSetting: "PRE_DEPLOY_FOLDER",
                timeout: .seconds(20)),
            settings: ExecutionSettings(
                shell: shell, exports: [:], killGrace: .seconds(1), interval: .seconds(30), recordFile: nil),
            runner: runner, writer: writer, logger: logger)
        leased.time = clock.leaseTime
        let guardian = guardian
        leased.makeGuard = { _, _, _ in
            guard hasGuard else { throw ShellError(.resources, operation: "guard", explanation: "no process") }
            return guardian
        }
        return try await leased.run(
            ClaimRequest(
                scope: Scope(app: "shop", host: "h", workspace: temporary.path), commit: "c", holder: "p", run: draft,
                retries: 0, isLenient: false, ignoresBackoff: false, isForced: false),
            in: temporary.path, RunContext(variables: [:], fields: []), waiting: {})
    }

    @Test("the lease is renewed until the result is on record, however long that takes")
    func recording() async throws {
        let (store, clock) = (Box(), clock)
        let leases = ScriptedLeases(
            .init(
                claim: granted(),
                completing: {
                    // The record takes longer than the lease lasts without a renewal.
                    for number in 1...8 {
                        _ = await eventually { clock.sleepers == 1 }
                        clock.advance(by: Lease.heartbeat)
                        _ = await eventually { (store.value?.renewals ?? 0) >= number }
                    }
                }))
        store.set(leases)
        let outcome = try await run("exit 0", leases)
        guard case .ran(_, let result, _) = outcome else { return #expect(Bool(false), "\(outcome)") }
        #expect(result.status == .succeeded && leases.renewals == 8 && guardian.isReleased)
        #expect(leases.completed.map(\.result.status) == [.succeeded])
    }

    /// What keeps this host alone from running anything.
    enum Trouble: CaseIterable, Sendable { case noGuard, noMark, noFolder, noShell }

    @Test(
        "a host that cannot start the run gives the lease back, and it counts as no attempt",
        arguments: Trouble.allCases)
    func trouble(kind: Trouble) async throws {
        let store = ScriptedLeases(.init(claim: granted()))
        if kind == .noMark {
            try FileManager.default.removeItem(atPath: runner.folder.running)
            try temporary.write(String(runner.folder.running.dropFirst(temporary.path.count + 1)), "in the way")
        }
        let outcome = try await run(
            "touch ran", in: kind == .noFolder ? "none" : ".", shell: kind == .noShell ? "/none/sh" : "/bin/sh", store,
            hasGuard: kind != .noGuard)
        guard case .notHere(let run, let reason) = outcome else { return #expect(Bool(false), "\(outcome)") }
        #expect(run.id == 5 && !reason.isEmpty && !temporary.exists("ran"))
        let completed = store.completed
        #expect(completed.map(\.result.status) == [.interrupted] && completed.first?.retryIn == nil)
        #expect(completed.first?.result.errorMessage == reason)
        #expect(guardian.isReleased == (kind != .noGuard))
    }

    @Test("a command that fails is a failure of the work")
    func fails() async throws {
        let store = ScriptedLeases(.init(claim: granted()))
        guard case .ran(_, let result, let failures) = try await run("exit 3", store) else {
            return #expect(Bool(false), "it did not run")
        }
        #expect(result.status == .failed && result.exitCode == 3 && failures == 1)
    }
}

/// Holds the store for a script of its own.
private final class Box: Sendable {
    private let store = Mutex<ScriptedLeases?>(nil)
    var value: ScriptedLeases? { store.withLock { $0 } }
    func set(_ value: ScriptedLeases) { store.withLock { $0 = value } }
}

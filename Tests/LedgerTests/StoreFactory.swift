import Ledger
import LedgerPostgres
import LedgerSQLite
import Postgres
import TestSupport
import Testing

/// A store that the conformance suite is run over. A further store adds a case, and passes the same tests.
enum StoreFactory: String, CaseIterable, CustomTestStringConvertible {
    case sqlite, postgresql
    /// Through PgBouncer in transaction mode.
    case pooled

    /// One server for all tests; it ends with the process.
    static let cluster = Task { try await PostgresCluster() }

    static let pooler = Task { try await PgBouncer(cluster.value) }

    /// A new, empty store that lives as long as the folder.
    func make(in folder: TemporaryFolder) async throws -> any LedgerStore {
        switch self {
        case .sqlite: try SQLiteLedger(path: folder.path + "/ledger.sqlite")
        case .postgresql:
            try await Self.shared(schema: uniqueText())
        case .pooled:
            try await PostgresLedger(schema: uniqueText()) { [url = Self.pooler.value.url] in try ConnectionString(url)
            }
        }
    }

    /// A record in the tests' server.
    static func shared(
        schema: String, _ change: (ConnectionString) -> ConnectionString = { $0 }
    ) async throws -> PostgresLedger {
        let string = change(try ConnectionString(await cluster.value.url()))
        return PostgresLedger(schema: schema) { string }
    }

    var testDescription: String { rawValue }
}

extension LedgerStore {
    /// Asks to run a task, as a person does.
    func claimTask(_ id: String) async throws -> ClaimAnswer {
        var run = RunDraft.sample(id, parent: nil)
        run.kind = .task
        return try await claim(
            ClaimRequest(
                scope: DeploymentDraft.sample().scope, commit: "a", holder: "p", run: run, retries: nil,
                isLenient: false, ignoresBackoff: true, isForced: false))
    }

    /// Runs a task to its end; one that fails has much to say.
    func runTask(_ id: String, _ status: RunStatus) async throws {
        guard case .granted(let lease, let run, _) = try await claimTask(id) else {
            throw PreparationFailed("not granted")
        }
        var result = RunResult.sample(status, exitCode: nil)
        if status == .failed { result.errorMessage = String(repeating: "é", count: 400) }
        _ = try await complete(
            ClaimResult(lease: lease, commit: "a", task: id, run: run.id, result: result, retryIn: nil))
    }
}

extension DeploymentDraft {
    /// A draft in which only what a test names differs.
    static func sample(
        commit: String = "a", app: String = "shop", host: String = "h", workspace: String = "/w", attempt: Int = 1,
        series: Int64? = nil, previous: String? = nil, startedAt: Int64 = 1000, trigger: Trigger = .poll,
        held: String? = nil, withPre: Bool = false
    ) -> DeploymentDraft {
        DeploymentDraft(
            scope: Scope(app: app, host: host, workspace: workspace), commit: commit, subject: "subject of \(commit)",
            author: "author", ref: "main", previousCommit: previous, trigger: trigger, attempt: attempt, series: series,
            startedAt: Timestamp(milliseconds: startedAt), held: held, withPre: withPre)
    }
}

extension RunDraft {
    /// - Parameters:
    ///   - parent: the deployment that it belongs to.
    ///   - host: of that deployment.
    static func sample(
        _ name: String = "PRE_DEPLOY", parent: Int64?, host: String = "h", marker: String = uniqueText()
    ) -> RunDraft {
        RunDraft(
            kind: .hook, name: name, parent: parent.map { .deployment($0) },
            place: DeploymentDraft.sample(host: host).scope, marker: marker, command: "true", folder: ".",
            mode: "strict", timeout: .seconds(300), attempt: 1, startedAt: Timestamp(milliseconds: 1500))
    }
}

extension Run {
    /// The deployment that it belongs to, where it must have one.
    func owner() throws -> Int64 {
        guard let deployment else { throw PreparationFailed("run \(id) belongs to no deployment") }
        return deployment
    }
}

extension RunResult {
    static func sample(_ status: RunStatus, exitCode: Int? = 0) -> RunResult {
        RunResult(status: status, exitCode: exitCode, completedAt: Timestamp(milliseconds: 2000), outputTail: "out")
    }
}

extension DeploymentResult {
    static func sample(
        _ status: DeploymentStatus, settled: Bool = true, retryAt: Int64? = nil, warnings: Int = 0
    ) -> DeploymentResult {
        DeploymentResult(
            status: status, settled: settled, retryAt: retryAt.map(Timestamp.init(milliseconds:)), warnings: warnings,
            completedAt: Timestamp(milliseconds: 3000), errorMessage: status == .failed ? "it failed" : nil)
    }
}

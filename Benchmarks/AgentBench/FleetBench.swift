import Foundation
import Ledger
import LedgerPostgres
import Postgres

/// Figures of a record that many hosts share; `AGENT_LEDGER_URL` and `AGENT_LEDGER_SCHEMA` say where it is.
///
/// `Benchmarks/fleet.py` puts the deployments there that each measurement begins with.
struct FleetBench: Sendable {
    private let string: ConnectionString
    private let schema: String

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        guard let url = environment["AGENT_LEDGER_URL"], let schema = environment["AGENT_LEDGER_SCHEMA"] else {
            throw BenchError(description: "AGENT_LEDGER_URL and AGENT_LEDGER_SCHEMA are not set")
        }
        string = try ConnectionString(url)
        self.schema = schema
    }

    private func ledger() -> PostgresLedger {
        let string = string
        return PostgresLedger(schema: schema) { string }
    }

    /// Makes the tables.
    func prepare() async throws -> [String: Double] {
        _ = try await ledger().identity()
        return [:]
    }

    // MARK: - Claims

    /// Deployments of each client; a client that has used all of them up begins again.
    private static let deploymentsOfClient = 10_000

    /// Claims hooks of ever new commits and completes them, each client for an app of its own.
    ///
    /// - Parameter first: the first client's first deployment; they are numbered in order.
    func claims(seconds: Int, clients: Int, first: Int) async throws -> [String: Double] {
        let stores = (0..<clients).map { _ in ledger() }
        // The first use asks for more.
        for store in stores { _ = try await store.identity() }
        let begin = ContinuousClock.now
        let pairs = try await withThrowingTaskGroup(of: Int.self) { group in
            for (client, store) in stores.enumerated() {
                group.addTask {
                    var made = 0
                    while ContinuousClock.now - begin < .seconds(seconds) {
                        let number = made % Self.deploymentsOfClient
                        try await claimAndComplete(store, client, first + client * Self.deploymentsOfClient + number)
                        made += 1
                    }
                    return made
                }
            }
            return try await group.reduce(0, +)
        }
        return ["pairs_per_s": Double(pairs) / (milliseconds(ContinuousClock.now - begin) / 1000)]
    }

    private func claimAndComplete(_ store: PostgresLedger, _ client: Int, _ deployment: Int) async throws {
        let number = String(deployment)
        let digits = String(repeating: "0", count: 16 - number.count) + number
        let commit = String(repeating: "0", count: 24) + digits
        let run = RunDraft(
            kind: .hook, name: "PRE_DEPLOY", parent: .deployment(Int64(deployment)),
            place: Scope(app: "claims\(client)", host: "h1", workspace: "/srv/shop"),
            marker: "00000000-0000-0000-\(digits)", command: "make migrate", folder: ".", mode: "strict",
            timeout: .seconds(600), attempt: 1, startedAt: .now, scope: .fleet)
        let answer = try await store.claim(
            ClaimRequest(
                scope: Scope(app: "claims\(client)", host: "h1", workspace: "/srv/shop"), commit: commit,
                holder: "bench", run: run, retries: nil, isLenient: false, ignoresBackoff: false, isForced: false))
        guard case .granted(let lease, let run, _) = answer else {
            throw BenchError(description: "not granted: \(answer)")
        }
        let result = RunResult(status: .succeeded, exitCode: 0, completedAt: .now, outputTail: "out")
        let failures = try await store.complete(
            ClaimResult(lease: lease, commit: commit, run: run.id, result: result, retryIn: nil))
        guard failures == 0 else { throw BenchError(description: "the lease has passed on") }
    }

    // MARK: - Checks

    /// Asks what unchanged checks of many agents ask, each once a minute, and counts the server's connections meanwhile.
    func checks(agents: Int, seconds: Int) async throws -> [String: Double] {
        let stores = (0..<agents).map { _ in ledger() }
        // The first use asks for more.
        for store in stores { _ = try await store.identity() }
        try await Task.sleep(for: .seconds(1))
        let end = ContinuousClock.now + .seconds(seconds)
        async let connections = connections(until: end)
        let times = try await withThrowingTaskGroup(of: [Double].self) { group in
            for (number, store) in stores.enumerated() {
                group.addTask { try await checks(of: number, store, until: end) }
            }
            return try await group.reduce([], +)
        }
        let counted = try await connections
        return [
            "checks_per_min": Double(times.count) / Double(seconds) * 60, "check_ms": median(times),
            "slowest_ms": times.max() ?? 0, "connections": median(counted), "most_connections": counted.max() ?? 0,
        ]
    }

    /// - Returns: how long each took, in milliseconds.
    private func checks(of agent: Int, _ store: PostgresLedger, until end: ContinuousClock.Instant) async throws
        -> [Double]
    {
        let scope = Scope(app: "shop", host: "h\(agent)", workspace: "/srv/shop")
        let commit = String(repeating: "a", count: 40)
        let interval = Duration.seconds(60)
        var next = ContinuousClock.now + interval * Double.random(in: 0..<1)
        var times: [Double] = []
        while next < end {
            try await Task.sleep(until: next, clock: .continuous)
            let begin = ContinuousClock.now
            let facts = try await store.facts(scope, commit: commit)
            guard facts.lastSettled?.commit == commit else { throw BenchError(description: "nothing is deployed") }
            _ = try await store.note(
                Presence(
                    scope: scope, instance: "process of h\(agent)", version: "bench", ref: "main", target: commit,
                    outcome: "unchanged", problem: nil, interval: interval))
            times.append(milliseconds(ContinuousClock.now - begin))
            next = ContinuousClock.now + interval * Double.random(in: 0.9...1.1)
        }
        return times
    }

    /// Counts the connections of all others, 20 times a second.
    private func connections(until end: ContinuousClock.Instant) async throws -> [Double] {
        let observer = try await PostgresConnection(string.with("application_name", "bench observer"))
        var counts: [Double] = []
        while ContinuousClock.now < end {
            counts.append(
                try await observer.run { session in
                    let row = try session.query(
                        """
                        SELECT count(*) FROM pg_stat_activity
                        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                        """
                    ).rows[0]
                    return Double(try row.get(0, as: Int.self))
                })
            try await Task.sleep(for: .milliseconds(50))
        }
        return counts
    }

    // MARK: - Long record

    /// Pages of 20 of a long record, and decisions about a commit that is new to it, in milliseconds.
    func history(count: Int) async throws -> [String: Double] {
        let store = ledger()
        let (workspace, app) = (HistoryFilter.Subject.workspace("/srv/shop"), HistoryFilter.Subject.app("shop"))
        let (known, unknown) = (String(repeating: "a", count: 12), String(repeating: "e", count: 12))
        func page(
            _ host: String?, _ subject: HistoryFilter.Subject, commit: String? = nil, status: DeploymentStatus? = nil
        ) -> HistoryFilter {
            HistoryFilter(host: host, subject: subject, limit: 20, commit: commit, status: status)
        }
        let pages: [(String, HistoryFilter, rows: Int)] = [
            ("workspace", page("h7", workspace), 20),
            ("workspace, commit", page("h7", workspace, commit: known), 1),
            ("workspace, unknown commit", page("h7", workspace, commit: unknown), 0),
            ("workspace, failed", page("h7", workspace, status: .failed), 20),
            ("workspace, deferred", page("h7", workspace, status: .deferred), 0),
            ("app", page(nil, app), 20),
            ("app, commit", page(nil, app, commit: known), 20),
            ("app, unknown commit", page(nil, app, commit: unknown), 0),
            ("app, failed", page(nil, app, status: .failed), 20),
            ("app, deferred", page(nil, app, status: .deferred), 0),
            ("host gone quiet", page("h50", workspace), 20),
        ]
        func time(_ body: () async throws -> Void) async throws -> Double {
            var times: [Double] = []
            for _ in 0..<count {
                let begin = ContinuousClock.now
                try await body()
                times.append(milliseconds(ContinuousClock.now - begin))
            }
            return median(times)
        }
        var figures: [String: Double] = [:]
        for (name, filter, rows) in pages {
            let found = try await store.history(filter).count
            guard found == rows else { throw BenchError(description: "\(name): \(found) rows") }
            figures[name] = try await time { _ = try await store.history(filter) }
        }
        for (name, host) in [("decision", "h7"), ("decision, host gone quiet", "h50")] {
            let scope = Scope(app: "shop", host: host, workspace: "/srv/shop")
            figures[name] = try await time {
                _ = try await store.facts(scope, commit: String(repeating: "e", count: 40))
            }
        }
        return figures
    }
}

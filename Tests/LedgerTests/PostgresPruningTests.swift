import Ledger
import LedgerPostgres
import Postgres
import TestSupport
import Testing

/// Retention of a record that many hosts share.
@Suite(.timeLimit(.minutes(2)))
struct PostgresPruningTests {
    private let schema = uniqueText()

    private func administrator() async throws -> PostgresConnection {
        try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
    }

    private func deploy(_ store: PostgresLedger, _ host: String, times: Int) async throws {
        for number in 0..<times {
            let begun = try await store.begin(
                .sample(commit: "\(number)", host: host), firstRun: { .sample(parent: $0, host: host) })
            try await store.write([
                .completeRun(begun.run?.id ?? 0, .sample(.succeeded)),
                .completeDeployment(begun.deployment.id, .sample(.succeeded)),
            ])
        }
    }

    private func note(_ store: PostgresLedger, _ host: String, unseenFor: String) async throws {
        let scope = DeploymentDraft.sample(host: host).scope
        _ = try await store.note(
            Presence(
                scope: scope, instance: "p", version: "1", ref: nil, target: nil, outcome: "unchanged", problem: nil,
                interval: .seconds(30)))
        let schema = schema
        try await administrator().run {
            try $0.query(
                "UPDATE \(schema).agents SET last_seen = clock_timestamp() - $1::interval WHERE host = $2",
                [.text(unseenFor), .text(host)])
        }
    }

    private func count(_ store: PostgresLedger, _ host: String) async throws -> Int {
        try await store.history(HistoryFilter(host: host, subject: .workspace("/w"), limit: 100)).count
    }

    @Test("of hosts unseen for a day the newest deployments together stay, and what was under way there is over")
    func gone() async throws {
        let store = try await StoreFactory.shared(schema: schema)
        try await deploy(store, "lately", times: 2)
        try await note(store, "lately", unseenFor: "25 hours")
        for host in ["old1", "old2"] {
            try await deploy(store, host, times: 4)
            try await note(store, host, unseenFor: "8 days")
        }
        let running = try await store.begin(.sample(host: "old2"), firstRun: { .sample(parent: $0, host: "old2") })
        try await deploy(store, "here", times: 2)
        try await note(store, "here", unseenFor: "1 minute")
        #expect(try await store.prune(DeploymentDraft.sample(host: "here").scope, keep: 3, limit: 100).isEmpty)
        #expect(try await count(store, "here") == 2)
        #expect(try await count(store, "lately") == 1, "its last succeeded one")
        #expect(try await count(store, "old1") == 0)
        #expect(try await count(store, "old2") == 3)
        #expect(try await store.deployment(running.deployment.id)?.status == .interrupted)
        #expect(try await store.run(running.run?.id ?? 0)?.status == .interrupted)
    }

    @Test(
        "what a host holds that was not seen for a day stays for a week",
        arguments: [("25 hours", true), ("8 days", false)])
    func goneHolding(unseen: String, stays: Bool) async throws {
        let store = try await StoreFactory.shared(schema: schema)
        let holding = try await store.begin(.sample(host: "gone", trigger: .rollback, held: "b"), firstRun: nil)
        let id = holding.deployment.id
        try await store.write([.publish(deployment: id), .completeDeployment(id, .sample(.failed))])
        try await note(store, "gone", unseenFor: unseen)
        try await deploy(store, "also", times: 3)
        try await note(store, "also", unseenFor: "25 hours")
        _ = try await store.prune(DeploymentDraft.sample(host: "here").scope, keep: 2, limit: 100)
        #expect(try await (store.deployment(id) != nil) == stays)
    }

    @Test("what came of a hook is remembered for ten thousand commits, also where no host is gone; tasks' stay")
    func outcomes() async throws {
        let store = try await StoreFactory.shared(schema: schema)
        try await deploy(store, "here", times: 1)
        try await note(store, "here", unseenFor: "1 minute")
        let schema = schema
        let other = try await administrator()
        try await other.run {
            try $0.query(
                """
                INSERT INTO \(schema).outcomes (app, name, commit_id, fence, status)
                SELECT app, name, n, n, CASE n WHEN 2 THEN 'running' ELSE 'succeeded' END FROM generate_series(1, 10003) AS n,
                    (VALUES ('shop', 'PRE_DEPLOY'), ('other', 'PRE_DEPLOY'), ('', 'task:t')) AS work (app, name)
                """)
        }
        _ = try await store.prune(DeploymentDraft.sample(host: "here").scope, keep: 3, limit: 100)
        let left = try await other.run {
            try $0.query(
                "SELECT app || ' ' || count(*) || ' ' || min(fence) FROM \(schema).outcomes GROUP BY app ORDER BY 1"
            )
            .rows.map { try $0.get(0, as: String.self) }
        }
        #expect(left == [" 10003 1", "other 10003 1", "shop 10001 2"])
    }

    @Test("one agent prunes at a time: the others leave it to that one, and do not wait")
    func oneAtATime() async throws {
        let store = try await StoreFactory.shared(schema: schema)
        try await deploy(store, "here", times: 3)
        let scope = DeploymentDraft.sample(host: "here").scope
        #expect(try await store.prune(scope, keep: 2, limit: 100).count == 1)
        let other = try await administrator()
        let schema = schema
        try await other.run {
            try $0.query("BEGIN")
            try $0.query("SELECT 1 FROM \(schema).leases WHERE app = 'shop' AND name = 'retention' FOR UPDATE")
        }
        #expect(try await store.prune(scope, keep: 1, limit: 100).isEmpty)
        try await other.run { try $0.query("COMMIT") }
        #expect(try await store.prune(scope, keep: 1, limit: 100).count == 1)
    }

    @Test("a run that recovery ends gives its lease up: nobody waits for it to run out")
    func recovered() async throws {
        let store = try await StoreFactory.shared(schema: schema)
        func request(_ host: String) async throws -> ClaimRequest {
            let draft = DeploymentDraft.sample(host: host)
            let deployment = try await store.begin(draft, firstRun: nil).deployment
            return ClaimRequest(
                scope: draft.scope, commit: "a", holder: "process of \(host)",
                run: .sample(parent: deployment.id, host: host), retries: nil, isLenient: false, ignoresBackoff: false,
                isForced: false)
        }
        guard case .granted(_, let run, _) = try await store.claim(request("h1")) else {
            throw PreparationFailed("not granted")
        }
        try await store.write([.abandonRun(run.id, .sample(.interrupted))])
        guard case .granted(let lease, _, _) = try await store.claim(request("h2")) else {
            throw PreparationFailed("not granted at once")
        }
        #expect(lease.fence == 2)
    }
}

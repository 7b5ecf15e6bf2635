import Foundation
import Ledger
import LedgerPostgres
import Postgres
import TestSupport
import Testing

/// What a ledger on a server does beyond what every ledger does.
@Suite(.timeLimit(.minutes(2)))
struct PostgresLedgerTests {
    private let schema = uniqueText()

    /// A connection of the test's own.
    private func administrator() async throws -> PostgresConnection {
        try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
    }

    private func ledger(_ change: (ConnectionString) -> ConnectionString = { $0 }) async throws -> PostgresLedger {
        try await StoreFactory.shared(schema: schema, change)
    }

    @Test("what the benchmarks hold claims against runs on the tables that there are")
    func floorOfClaims() async throws {
        let ledger = try await StoreFactory.shared(schema: "claims")
        let deployment = try await ledger.begin(.sample(), firstRun: nil).deployment
        let script = (#filePath as NSString).deletingLastPathComponent + "/../../Benchmarks/claims.sql"
        let url = try await StoreFactory.cluster.value.url()
        let result = try await shell(
            """
            $(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)/pgbench -n -f '\(script)' -M simple -t 1 \
                -D first=\(deployment.id) -D made=0 '\(url)' 2>&1
            """)
        #expect(!result.output.contains("aborted") && result.output.contains("tps = "), "\(result.output)")
        let run = try #require(try await ledger.runs(deployment: deployment.id).first)
        #expect(run.status == .succeeded && run.fence == 1)
    }

    @Test("agents that make the tables at the same moment all get to work")
    func manyAtOnce() async throws {
        let ledgers = try await withThrowingTaskGroup(of: PostgresLedger.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    let ledger = try await ledger()
                    _ = try await ledger.begin(.sample(), firstRun: nil)
                    return ledger
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let all = try await ledgers[0].history(HistoryFilter(host: "h", subject: .workspace("/w"), limit: 100))
        #expect(all.count == 20 && Set(all.map(\.id)).count == 20)
    }

    @Test("tables of a newer version are left as they are")
    func newer() async throws {
        _ = try await ledger().begin(.sample(), firstRun: nil)
        let administrator = try await administrator()
        let schema = schema
        try await administrator.run {
            try $0.query("UPDATE \(schema).schema_version SET version = 99, compatible_from = 99")
        }
        let error = await #expect(throws: LedgerError.self) { try await ledger().begin(.sample(), firstRun: nil) }
        #expect(error?.code == .newerSchema && error?.description.contains("update the agent") == true)
    }

    @Test("a user without rights is told which are needed, and no password is shown")
    func rights() async throws {
        let administrator = try await administrator()
        let user = uniqueText()
        try await administrator.run { try $0.query("CREATE ROLE \(user) LOGIN PASSWORD 's3cr3t-role'") }
        let ledger = try await ledger { $0.with("user", user).with("password", "s3cr3t-role") }
        let error = await #expect(throws: LedgerError.self) { try await ledger.begin(.sample(), firstRun: nil) }
        #expect(
            error?.code == .forbidden && error?.description.contains("GRANT") == true, "\(String(describing: error))")
        #expect(error?.description.contains("s3cr3t") == false)
    }

    @Test("between uses no connection is held")
    func idle() async throws {
        let name = uniqueText()
        let ledger = try await ledger { $0.with("application_name", name) }
        let administrator = try await administrator()
        func connections() async throws -> Int {
            try await administrator.run { session in
                try session.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", [.text(name)])
                    .rows[0].get(0)
            }
        }
        for _ in 0..<5 { _ = try await ledger.facts(DeploymentDraft.sample().scope, commit: "a") }
        #expect(try await connections() <= 1)
        #expect(try await eventually { try await connections() == 0 })
        #expect(try await ledger.facts(DeploymentDraft.sample().scope, commit: "a").latest == nil)
        let schema = schema
        try await administrator.run { try $0.query("DROP TABLE \(schema).notifications") }
        await #expect(throws: LedgerError.self) { try await ledger.nextNotification(DeploymentDraft.sample().scope) }
        #expect(try await eventually { try await connections() == 0 })
    }

    @Test("a server that was away is asked again; meanwhile the ledger is unreachable, without a password in the text")
    func away() async throws {
        let cluster = try await PostgresCluster()
        let ledger = PostgresLedger { try ConnectionString(cluster.url()) }
        let (first, _) = try await ledger.begin(.sample(), firstRun: nil)
        try await cluster.stop()
        let error = await #expect(throws: LedgerError.self) { try await ledger.deployment(first.id) }
        #expect(error?.code == .unreachable && error?.description.contains("s3cret") == false)
        let again = await #expect(throws: LedgerError.self) { try await ledger.deployment(first.id) }
        #expect(again?.code == .unreachable)
        try await cluster.start()
        #expect(try await ledger.deployment(first.id)?.status == .running)
    }

    @Test("what another client left in a pooled connection's session changes nothing")
    func noSessionState() async throws {
        let ledger = try await ledger {
            $0.with(
                "options", "-c search_path=nowhere -c statement_timeout=0 -c default_transaction_isolation=serializable"
            )
        }
        _ = try await ledger.begin(.sample(), firstRun: nil)
        #expect(try await ledger.facts(DeploymentDraft.sample().scope, commit: "a").latest?.status == .running)
    }
}

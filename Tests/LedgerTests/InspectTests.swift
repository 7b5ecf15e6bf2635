import Foundation
import GRDB
import Ledger
import LedgerPostgres
import LedgerSQLite
import Postgres
import TestSupport
import Testing

/// Looking at a record without a change to it.
@Suite(.timeLimit(.minutes(1)))
struct InspectTests {
    let folder: TemporaryFolder
    private var path: String { folder.path + "/ledger.sqlite" }

    init() throws {
        folder = try TemporaryFolder()
    }

    private func inspect(_ store: any LedgerStore) async throws -> RecordFindings? {
        if let store = store as? PostgresLedger { return try await store.inspect() }
        return try await SQLiteLedger.inspect(path: path)
    }

    @Test("what there is is counted, and what does not fit together is found", arguments: StoreFactory.allCases)
    func contents(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        try await store.settle(.sample(startedAt: 5000))
        _ = try await store.begin(.sample(commit: "b", startedAt: 9000)) { .sample(parent: $0) }
        let ended = try await store.begin(.sample(commit: "c", startedAt: 7000)) { .sample(parent: $0) }
        try await store.write([.completeDeployment(ended.deployment.id, .sample(.failed))])
        let lost = try await store.write((0..<7).map { _ in .beginRun(.sample(parent: 99)) })
        let findings = try #require(try await inspect(store))
        #expect(findings.version == findings.knownVersion && findings.refusals.isEmpty && findings.sizeBytes > 4096)
        let contents = try #require(findings.contents)
        #expect(
            contents
                == RecordContents(
                    deployments: 3, runs: 10, runningDeployments: 1, runningRuns: 9,
                    oldest: Timestamp(milliseconds: 5000), newest: Timestamp(milliseconds: 9000),
                    overdueRuns: .init(count: 1, first: [try #require(ended.run).id]),
                    orphanedRuns: .init(count: 7, first: lost.prefix(5).map(\.id))), "\(contents)")
    }

    @Test("a record in which nothing is yet has nothing wrong", arguments: StoreFactory.allCases)
    func empty(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        _ = try await store.history(HistoryFilter(host: nil, subject: .app("shop"), limit: 1))
        let contents = try #require(try await inspect(store)?.contents)
        #expect(contents.deployments == 0 && contents.oldest == nil && contents.orphanedRuns.count == 0)
    }

    // MARK: - A file

    @Test("looking at a file changes no byte of it, be it in use, left behind by a killed agent, or at rest")
    func unchanged() async throws {
        let original = folder.path + "/original"
        let store = try SQLiteLedger(path: original)
        try await store.settle(.sample())
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: original + suffix, toPath: path + suffix)
        }
        func bytes(_ path: String) -> [Data?] {
            ["", "-wal"].map { FileManager.default.contents(atPath: path + $0) }
        }
        for path in [original, path] {
            let before = bytes(path)
            #expect(try await SQLiteLedger.inspect(path: path)?.contents?.deployments == 1)
            #expect(bytes(path) == before)
        }
        store.close()
        let before = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        let content = bytes(original)
        #expect(try await SQLiteLedger.inspect(path: original)?.contents?.deployments == 1)
        #expect(bytes(original) == content)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == before)
    }

    @Test("damaged pages are found, be it half of them or all but the first")
    func damaged() async throws {
        let store = try SQLiteLedger(path: path)
        for number in 0..<100 { try await store.settle(.sample(commit: "c\(number)"), runs: []) }
        store.close()
        var bytes = try #require(FileManager.default.contents(atPath: path))
        for start in [bytes.count / 2, 4096] {
            for index in start..<bytes.count { bytes[index] = 0xA5 }
            try bytes.write(to: URL(fileURLWithPath: path))
            let findings = try #require(try await SQLiteLedger.inspect(path: path))
            guard case .file(let file) = findings.store else { throw PreparationFailed("no file") }
            #expect(!file.damage.isEmpty && file.damage.allSatisfy { !$0.hasPrefix("***") })
            #expect(findings.contents == nil)
        }
    }

    @Test("an empty file is no record; another program's is refused")
    func foreign() async throws {
        try folder.write("ledger.sqlite", "")
        #expect(try await SQLiteLedger.inspect(path: path) == nil)
        let queue = try DatabaseQueue(path: path)
        try await queue.write { db in try db.execute(sql: "CREATE TABLE notes (id)") }
        try queue.close()
        let error = await #expect(throws: LedgerError.self) { try await SQLiteLedger.inspect(path: path) }
        #expect(error?.code == .foreign)
    }

    // MARK: - A server

    private func server(_ ledger: PostgresLedger) async throws -> ServerFindings {
        guard case .server(let server) = try #require(try await ledger.inspect()).store else {
            throw PreparationFailed("no server")
        }
        return server
    }

    @Test("before there is a record none is made")
    func absent() async throws {
        let schema = uniqueText()
        let ledger = try await StoreFactory.shared(schema: schema)
        #expect(try await ledger.inspect() == nil)
        #expect(try await ledger.exists() == false)
    }

    @Test("the server is described: version, clock, settings by which commits are lost, leases, outcomes without a run")
    func about() async throws {
        let ledger = try await StoreFactory.shared(schema: uniqueText())
        let deployment = try await ledger.begin(.sample(host: "h1"), firstRun: nil).deployment
        _ = try await ledger.claim(
            ClaimRequest(
                scope: deployment.scope, commit: "a", holder: "p", run: .sample(parent: deployment.id, host: "h1"),
                retries: nil,
                isLenient: false, ignoresBackoff: false, isForced: false))
        try await ledger.insert([
            Outcome(
                key: .init(app: "shop", name: "PRE_DEPLOY", commit: "old"), run: 77, marker: nil, fence: 1,
                status: "succeeded", failures: 0, retryAt: nil)
        ])
        let server = try await server(ledger)
        #expect((13...18).contains(server.majorVersion) && server.version.hasPrefix("\(server.majorVersion)"))
        #expect(!server.isStandby && !server.isReadOnly && !server.isPooled && server.encryption == "off")
        #expect(abs(server.clockAheadMilliseconds) < 2000 && server.maxConnections > 0)
        #expect(server.unsafeSettings == ["fsync = off"] && server.hooksWithoutRun == 1)
        let lease = try #require(server.leases.first)
        #expect(server.leases.count == 1 && lease.app == "shop" && lease.lease.name == "PRE_DEPLOY")
        #expect(lease.lease.host == "h1" && lease.lease.fence == 1 && lease.lease.remaining > .zero)
    }

    @Test("a database that may only be read is told")
    func readOnly() async throws {
        let schema = uniqueText()
        try await StoreFactory.shared(schema: schema).settle(.sample())
        let ledger = try await StoreFactory.shared(schema: schema) {
            $0.with("options", "-c default_transaction_read_only=on")
        }
        #expect(try await server(ledger).isReadOnly)
    }

    @Test("rights that an agent needs and the user does not have are named")
    func rights() async throws {
        let (schema, user) = (uniqueText(), uniqueText())
        try await StoreFactory.shared(schema: schema).settle(.sample())
        let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
        try await administrator.run { session in
            try session.query("CREATE ROLE \(user) LOGIN PASSWORD 'x'")
            try session.query("GRANT USAGE ON SCHEMA \(schema) TO \(user)")
            try session.query("GRANT SELECT ON ALL TABLES IN SCHEMA \(schema) TO \(user)")
            try session.query("GRANT UPDATE, DELETE ON \(schema).runs TO \(user)")
        }
        let ledger = try await StoreFactory.shared(schema: schema) { $0.with("user", user).with("password", "x") }
        let refusals = try #require(try await ledger.inspect()).refusals
        #expect(refusals.contains("no right to INSERT on deployments"))
        #expect(refusals.contains("no right to USAGE on deployments_id_seq"))
        #expect(refusals.filter { $0.hasSuffix(" on runs") } == ["no right to INSERT on runs"], "\(refusals)")
        #expect(!refusals.contains { $0.contains("identity") || $0.contains("schema_version") })
    }
}

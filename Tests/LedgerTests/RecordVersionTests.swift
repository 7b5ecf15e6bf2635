import Foundation
import GRDB
import Ledger
import LedgerPostgres
import LedgerSQLite
import Postgres
import Synchronization
import TestSupport
import Testing

/// Records of other versions of the agent.
@Suite(.timeLimit(.minutes(1)))
struct RecordVersionTests {
    let folder: TemporaryFolder
    private var path: String { folder.path + "/ledger.sqlite" }
    private let schema = uniqueText()
    private let newer = Told()

    private final class Told: Sendable {
        private let versions = Mutex<[Int]>([])
        func note(_ version: Int) { versions.withLock { $0.append(version) } }
        var all: [Int] { versions.withLock { $0 } }
    }

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Opens the record as an agent does at its start, and asks it something.
    private func use(_ factory: StoreFactory) async throws -> any LedgerStore {
        let newer = newer
        let store: any LedgerStore
        if factory == .sqlite {
            store = try SQLiteLedger(path: path, newer: newer.note)
        } else {
            let string = try await ConnectionString(StoreFactory.cluster.value.url())
            store = PostgresLedger(schema: schema, newer: newer.note) { string }
        }
        _ = try await store.facts(DeploymentDraft.sample().scope, commit: "a")
        return store
    }

    private func execute(_ sql: [String], _ factory: StoreFactory) async throws {
        if factory == .sqlite {
            let queue = try DatabaseQueue(path: path)
            try await queue.write { db in for sql in sql { try db.execute(sql: sql) } }
            return try queue.close()
        }
        let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
        let schema = schema
        try await administrator.run { session in
            try session.query("CREATE SCHEMA IF NOT EXISTS \(schema)")
            try session.query("SET search_path TO \(schema)")
            for sql in sql { try session.query(sql) }
        }
    }

    /// All that is there, to the byte where it is a file.
    private func content(_ factory: StoreFactory) async throws -> [Data] {
        if factory == .sqlite { return [try #require(FileManager.default.contents(atPath: path))] }
        let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
        let schema = schema
        return try await administrator.run { session in
            try session.query(
                """
                SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = $1
                UNION ALL SELECT query_to_xml('SELECT * FROM \(schema).schema_version', true, true, '')::text ORDER BY 1
                """, [.text(schema)]
            ).rows.map { Data(try $0.get(0, as: String.self).utf8) }
        }
    }

    private func refusal(_ factory: StoreFactory) async throws -> LedgerError {
        let before = try await content(factory)
        let error = await #expect(throws: LedgerError.self) { _ = try await use(factory) }
        #expect(try await content(factory) == before)
        #expect(error?.isFinal == true && error?.isForGood == false)
        return try #require(error)
    }

    private static let stores = [StoreFactory.sqlite, .postgresql]

    @Test(
        "a record of an unreleased agent is left as it is, and what to do and what that means is said",
        arguments: stores)
    func older(factory: StoreFactory) async throws {
        try await execute(
            factory == .sqlite
                ? ["CREATE TABLE deployments (id)", "PRAGMA application_id = 1146113113", "PRAGMA user_version = 7"]
                : [
                    "CREATE TABLE schema_version (version INTEGER PRIMARY KEY)",
                    "INSERT INTO schema_version VALUES (6)", "CREATE TABLE identity (id TEXT)",
                    "INSERT INTO identity VALUES ('x')",
                ], factory)
        let error = try await refusal(factory)
        #expect(error.code == .olderSchema, "\(error)")
        let advice = factory == .sqlite ? "move the file away" : "AGENT_LEDGER_SCHEMA"
        #expect(error.description.contains(advice) && error.description.contains("no commit counts as deployed"))
    }

    @Test(
        "a record to which a newer agent has added something is worked with, and that is said once", arguments: stores)
    func additive(factory: StoreFactory) async throws {
        try await use(factory).settle(.sample())
        #expect(newer.all.isEmpty)
        try await execute(
            [
                "UPDATE schema_version SET version = 11", "ALTER TABLE runs ADD COLUMN later TEXT",
                "CREATE TABLE jobs (id INTEGER PRIMARY KEY)",
            ] + (factory == .sqlite ? ["PRAGMA user_version = 11"] : []), factory)
        let store = try await use(factory)
        try await store.settle(.sample(commit: "b"))
        #expect(try await store.all().map(\.commit) == ["a", "b"])
        #expect(newer.all == [11])
        // It stays the newer agent's.
        try await execute(["UPDATE schema_version SET compatible_from = 11"], factory)
        store.close()
        #expect(try await refusal(factory).code == .newerSchema)
    }

    @Test(
        "a record that a newer agent has changed for good is left as it is, and the agent to be updated",
        arguments: stores)
    func breaking(factory: StoreFactory) async throws {
        let store = try await use(factory)
        try await store.settle(.sample())
        store.close()
        try await execute(
            ["UPDATE schema_version SET version = 12, compatible_from = 11"]
                + (factory == .sqlite ? ["PRAGMA user_version = 12"] : []), factory)
        let error = try await refusal(factory)
        #expect(error.code == .newerSchema && error.description.contains("update the agent"), "\(error)")
    }

    @Test("a record is made with the version that is known", arguments: stores)
    func made(factory: StoreFactory) async throws {
        let store = try await use(factory)
        try await store.settle(.sample())
        let findings =
            if let store = store as? PostgresLedger { try await store.inspect() } else {
                try await SQLiteLedger.inspect(path: path)
            }
        #expect(findings?.version == 10 && findings?.knownVersion == 10)
    }
}

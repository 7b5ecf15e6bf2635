import LedgerPostgres
import Postgres
import TestSupport

/// One PostgreSQL server for all tests of the built binary; it ends with the process.
enum SharedPostgres {
    static let cluster = Task { try await PostgresCluster() }

    /// What an agent is given to keep its record there.
    static func settings(schema: String) async throws -> [String: String] {
        ["AGENT_LEDGER_URL": try await cluster.value.url(), "AGENT_LEDGER_SCHEMA": schema]
    }

    /// A record there.
    static func ledger(schema: String) async throws -> PostgresLedger {
        let string = try ConnectionString(await cluster.value.url())
        return PostgresLedger(schema: schema) { string }
    }

    /// Runs a statement as the superuser.
    static func query(_ sql: String) async throws {
        let connection = try await PostgresConnection(ConnectionString(cluster.value.url()))
        try await connection.run { _ = try $0.query(sql) }
    }
}

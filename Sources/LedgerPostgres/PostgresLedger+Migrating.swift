import Ledger
import Postgres

/// Brings the tables up to date. Many agents may do so at once: one does, the others wait for it.
extension PostgresLedger {
    func migrate(_ connection: PostgresConnection) async throws {
        if try await version(connection) == PostgresSchema.steps.count { return }
        let (schema, location) = (schema, location)
        try await transaction(connection) { session in
            // Held until the end of the transaction. The number is the agents' own: "DPLY" in ASCII.
            try session.query("SELECT pg_advisory_xact_lock(1146113113, hashtext($1))", [.text(schema)])
            let isThere = try session.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [.text(schema)])
            if isThere.rows.isEmpty {
                let name = try session.query("SELECT quote_ident($1)", [.text(schema)]).rows[0].get(0, as: String.self)
                try session.query("CREATE SCHEMA \(name)")
            }
            try session.query("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
            let found = try session.query("SELECT max(version) FROM schema_version").rows[0].optional(0, as: Int.self)
            let version = found ?? 0
            guard version <= PostgresSchema.steps.count else { throw Self.newer(version, location) }
            for step in PostgresSchema.steps[version...] {
                for statement in step { try session.query(statement) }
            }
            guard version < PostgresSchema.steps.count else { return }
            try session.query("DELETE FROM schema_version")
            try session.query(
                "INSERT INTO schema_version VALUES ($1::integer)", [.integer(Int64(PostgresSchema.steps.count))])
        }
    }

    /// Nil when there are no tables yet.
    private func version(_ connection: PostgresConnection) async throws -> Int? {
        let location = location
        do {
            return try await transaction(connection) { session in
                let version = try session.query("SELECT max(version) FROM schema_version").rows[0].optional(
                    0, as: Int.self)
                if let version, version > PostgresSchema.steps.count { throw Self.newer(version, location) }
                return version
            }
        } catch let error as PostgresError where error.sqlState == "42P01" || error.sqlState == "3F000" {
            return nil
        }
    }

    private static func newer(_ version: Int, _ location: String) -> LedgerError {
        LedgerError(
            .newerSchema, operation: "open", location: location,
            explanation:
                "it was written by a newer version of the agent (schema \(version), this one knows "
                + "\(PostgresSchema.steps.count)); update the agent")
    }
}

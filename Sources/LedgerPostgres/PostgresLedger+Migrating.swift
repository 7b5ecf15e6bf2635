import Ledger
import Postgres

/// Brings the tables up to date. Many agents may do so at once: one does, the others wait for it.
extension PostgresLedger {
    /// - Returns: the record's identity.
    func migrate() async throws -> String {
        if let (version, id) = try await version(), version == PostgresSchema.steps.count { return id }
        let (schema, location) = (schema, location)
        return try await transaction { session in
            // Held until the end of the transaction. The number is the agents' own: "DPLY" in ASCII.
            try session.query("SELECT pg_advisory_xact_lock(1146113113, hashtext($1))", [.text(schema)])
            let isThere = try session.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [.text(schema)])
            if isThere.rows.isEmpty { try session.query("CREATE SCHEMA \(quotedIdentifier(schema))") }
            try session.query("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
            let found = try session.query("SELECT max(version) FROM schema_version").rows[0].optional(0, as: Int.self)
            let version = found ?? 0
            guard version <= PostgresSchema.steps.count else { throw Self.newer(version, location) }
            for step in PostgresSchema.steps[version...] {
                for statement in step { try session.query(statement) }
            }
            if version < PostgresSchema.steps.count {
                try session.query("DELETE FROM schema_version")
                try session.query(
                    "INSERT INTO schema_version VALUES ($1::integer)", [.integer(Int64(PostgresSchema.steps.count))])
            }
            return try session.query("SELECT id FROM identity").rows[0].get(0)
        }
    }

    /// What the tables are at; nil when there are none yet.
    /// - Throws: `LedgerError` too, when they are of no use here.
    func version() async throws -> (Int, identity: String)? {
        let location = location
        do {
            return try await transaction { session in
                try Self.checkEncoding(session, location)
                guard
                    let version = try session.query("SELECT max(version) FROM schema_version").rows[0].optional(
                        0, as: Int.self)
                else { return nil }
                if version > PostgresSchema.steps.count { throw Self.newer(version, location) }
                return (version, try session.query("SELECT id FROM identity").rows[0].get(0))
            }
        } catch let error as PostgresError where error.sqlState == "42P01" || error.sqlState == "3F000" {
            return nil
        }
    }

    /// What commits and hooks say may have any character, and a server whose database lacks one refuses how a run ended.
    private static func checkEncoding(_ session: PostgresSession, _ location: String) throws {
        let encoding = try session.query("SELECT current_setting('server_encoding')").rows[0].get(0, as: String.self)
        // SQL_ASCII takes all bytes as they are.
        guard encoding != "UTF8", encoding != "SQL_ASCII" else { return }
        throw LedgerError(
            .unsuitable, operation: "open", location: location,
            explanation:
                "the database's encoding is \(encoding), which lacks characters that commits and hooks may have; "
                + "create one for the record: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
    }

    private static func newer(_ version: Int, _ location: String) -> LedgerError {
        LedgerError(
            .newerSchema, operation: "open", location: location,
            explanation:
                "it was written by a newer version of the agent (schema \(version), this one knows "
                + "\(PostgresSchema.steps.count)); update the agent")
    }
}

import Ledger
import Postgres

/// Brings the tables up to date. Many agents may do so at once: one does, the others wait for it.
extension PostgresLedger {
    /// - Returns: the record's identity.
    func migrate() async throws -> String {
        if let (version, id) = try await version(), version >= RecordVersion.known {
            if version > RecordVersion.known { newer(version) }
            return id
        }
        let (schema, location) = (schema, location)
        return try await transaction { session in
            // Held until the end of the transaction. The number is the agents' own: "DPLY" in ASCII.
            try session.query("SELECT pg_advisory_xact_lock(1146113113, hashtext($1))", [.text(schema)])
            let isThere = try session.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [.text(schema)])
            if isThere.rows.isEmpty { try session.query("CREATE SCHEMA \(quotedIdentifier(schema))") }
            try session.query(
                """
                CREATE TABLE IF NOT EXISTS schema_version
                    (version INTEGER PRIMARY KEY, compatible_from INTEGER NOT NULL)
                """)
            // Another agent may have brought them up to date between the look and the lock.
            let version = try Self.version(session, location) ?? 0
            if version < RecordVersion.known {
                for step in PostgresSchema.steps(after: version) {
                    for statement in step { try session.query(statement) }
                }
                try session.query("DELETE FROM schema_version")
                try session.query(
                    "INSERT INTO schema_version (version, compatible_from) VALUES ($1::integer, $2::integer)",
                    [PostgresValue(RecordVersion.known), PostgresValue(RecordVersion.compatibleFrom)])
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
                guard let version = try Self.version(session, location) else { return nil }
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

    /// - Returns: nil where none is noted.
    /// - Throws: `LedgerError` for one that this agent does not work with.
    private static func version(_ session: PostgresSession, _ location: String) throws -> Int? {
        guard
            let version = try session.query("SELECT max(version) FROM schema_version").rows[0].optional(
                0, as: Int.self)
        else { return nil }
        // Older tables have no such column.
        let compatibleFrom =
            version > RecordVersion.known
            ? try session.query(
                "SELECT max((to_jsonb(schema_version) ->> 'compatible_from')::integer) FROM schema_version"
            ).rows[0].optional(0, as: Int.self) : nil
        try RecordVersion.check(
            version, compatibleFrom: compatibleFrom, location: location,
            another: "name another schema in AGENT_LEDGER_SCHEMA, or rename this one (ALTER SCHEMA … RENAME TO …)")
        return version
    }
}

public import Ledger
import Postgres

/// Looking at the record and its server.
extension PostgresLedger {
    /// Says what there is, and changes nothing; nil when there is no record yet.
    /// - Throws: `LedgerError`.
    public func inspect() async throws -> RecordFindings? {
        do {
            guard let (version, _) = try await version() else { return nil }
            let schema = schema
            return try await transaction { session in
                RecordFindings(
                    version: version, knownVersion: RecordVersion.known,
                    refusals: try Self.refusals(schema, session), contents: try Self.contents(session),
                    sizeBytes: try session.query(
                        """
                        SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class
                        JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relkind = 'r'
                        """, [.text(schema)]
                    ).rows[0].get(0), store: .server(try Self.server(schema, session)))
            }
        } catch let error as PostgresError {
            throw report(error, "read")
        }
    }

    /// Rights that an agent needs and this user does not have.
    private static func refusals(_ schema: String, _ session: PostgresSession) throws -> [String] {
        try session.query(
            """
            SELECT 'no right to ' || needed || ' on ' || relname FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace,
            unnest(CASE relkind WHEN 'S' THEN ARRAY['USAGE'] ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END)
                WITH ORDINALITY AS rights (needed, place)
            WHERE nspname = $1 AND (relkind = 'S' OR relkind = 'r' AND relname NOT IN ('identity', 'schema_version'))
            AND NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(pg_class.oid, needed)
                ELSE has_table_privilege(pg_class.oid, needed) END
            ORDER BY relname, place
            """, [.text(schema)]
        ).rows.map { try $0.get(0) }
    }

    private static func contents(_ session: PostgresSession) throws -> RecordContents {
        func found(_ rows: String) throws -> RecordContents.Found {
            let count = try session.query("SELECT count(*) \(rows)").rows[0].get(0, as: Int.self)
            guard count > 0 else { return .init(count: 0, first: []) }
            return .init(
                count: count,
                first: try session.query(
                    "SELECT runs.id \(rows) ORDER BY runs.id LIMIT \(RecordContents.Found.limit)"
                ).rows.map { try $0.get(0) })
        }
        let deployments = try session.query(
            """
            SELECT count(*), count(*) FILTER (WHERE status = 'running'), \(milliseconds("min(started_at)")),
                \(milliseconds("max(started_at)")) FROM deployments
            """
        ).rows[0]
        let runs = try session.query("SELECT count(*), count(*) FILTER (WHERE status = 'running') FROM runs").rows[0]
        return RecordContents(
            deployments: try deployments.get(0), runs: try runs.get(0), runningDeployments: try deployments.get(1),
            runningRuns: try runs.get(1), oldest: try deployments.optionalTime(2),
            newest: try deployments.optionalTime(3), overdueRuns: try found(RecordContents.overdue),
            orphanedRuns: try found(RecordContents.orphaned))
    }

    private static func server(_ schema: String, _ session: PostgresSession) throws -> ServerFindings {
        let about = try session.query(
            """
            SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000,
                pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
                current_setting('max_connections')::integer
            """
        ).rows[0]
        let isPooled = try session.isPooled()
        let encryption = try session.query(
            "SELECT CASE WHEN ssl THEN coalesce(version, 'on') ELSE 'off' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).rows.first?.get(0, as: String.self)
        // The answer's own time is taken as half of the way.
        let asked = Timestamp.now
        let clock = try session.query("SELECT \(milliseconds("clock_timestamp()"))").rows[0].time(0)
        let answered = Timestamp.now
        let middle = asked.milliseconds + answered.millisecondsSince(asked) / 2
        return ServerFindings(
            schema: schema, version: try about.get(0), majorVersion: try about.get(1), isStandby: try about.get(2),
            isReadOnly: try about.get(3), maxConnections: try about.get(4), isPooled: isPooled,
            encryption: isPooled ? nil : encryption, clockAheadMilliseconds: clock.milliseconds - middle,
            unsafeSettings: try session.query(
                """
                SELECT name || ' = ' || setting FROM pg_settings
                WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off' ORDER BY name
                """
            ).rows.map { try $0.get(0) }, leases: try leases(session),
            hooksWithoutRun: try session.query(
                """
                SELECT count(*) FROM outcomes
                WHERE commit_id <> '' AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = outcomes.run)
                """
            ).rows[0].get(0))
    }

    private static func leases(_ session: PostgresSession) throws -> [ServerFindings.FoundLease] {
        try session.query(
            """
            SELECT app, name, fence, coalesce(host, ''), coalesce(commit_id, ''), run,
                \(milliseconds("coalesce(acquired_at, now())")), coalesce(\(millisecondsUntil("expires_at")), 0)
            FROM leases WHERE holder IS NOT NULL ORDER BY app, name
            """
        ).rows.map { row in
            .init(
                app: try row.get(0),
                lease: HeldLease(
                    name: try row.get(1), fence: try row.get(2), host: try row.get(3), commit: try row.get(4),
                    run: try row.optional(5), acquiredAt: try row.time(6),
                    remaining: .milliseconds(try row.get(7, as: Int64.self))))
        }
    }
}

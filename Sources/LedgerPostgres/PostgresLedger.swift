public import Ledger
public import Postgres
import Synchronization

/// The ledger that many hosts share: a schema in a PostgreSQL database.
///
/// A connection is opened when there is something to ask or write, and closed right after. Every block is one transaction,
/// and nothing is kept in the session, so a pooler in transaction mode may stand between.
public final class PostgresLedger: FleetStore {
    private let string: @Sendable () throws -> ConnectionString
    let schema: String
    let tasks: PostgresTasksTable
    let lane: ConnectionLane
    /// For renewals alone: they must not wait behind a statement that hangs.
    private let leaseLane: ConnectionLane
    private let patience: ConnectionPatience
    private let connectLimit: Duration
    /// Is told once of tables of a newer version that are worked with.
    let newer: @Sendable (Int) -> Void
    /// Of the record, once its tables were found or made.
    private let known = Mutex<String?>(nil)

    /// How long one transaction may take, and a connection to be made.
    private static let limit = Duration.seconds(30)
    /// How long a connection may take to be made, where nothing else is set.
    public static let connectLimit = Duration.seconds(10)
    /// A renewal that takes longer is made anew: there is time for several before the lease is over.
    private static let renewalLimit = Duration.seconds(3)

    /// - Parameters:
    ///   - schema: where the tables are; made when it is not there.
    ///   - tasksTable: which tasks are done, as `table` or `schema.table`; nil for one in that schema.
    ///   - connectLimit: how long a connection may take to be made.
    ///   - madeTasksTable: is told of a table of that name that was not there, as SQL has it.
    ///   - newer: is told of tables of a newer version that are worked with.
    ///   - string: is called for every connection, so that a password may change.
    public init(
        schema: String = "deploy_agent", tasksTable: String? = nil, connectLimit: Duration = connectLimit,
        madeTasksTable: @escaping @Sendable (String) -> Void = { _ in },
        newer: @escaping @Sendable (Int) -> Void = { _ in },
        _ string: @escaping @Sendable () throws -> ConnectionString
    ) {
        self.string = string
        self.schema = schema
        self.newer = newer
        tasks = PostgresTasksTable(tasksTable, schema: schema, made: madeTasksTable)
        let patience = ConnectionPatience()
        self.patience = patience
        self.connectLimit = connectLimit
        lane = ConnectionLane(idle: .milliseconds(100)) {
            try await patience.connect { try await Self.connect(string(), within: connectLimit) }
        }
        leaseLane = ConnectionLane(idle: Lease.heartbeat * 1.5) {
            try await patience.connect {
                try await Self.connect(string(), within: min(connectLimit, Self.renewalLimit))
            }
        }
    }

    public var isShared: Bool { true }
    public var isInPlace: Bool { true }

    public func identity() async throws -> String {
        if let id = known.withLock({ $0 }) { return id }
        try await work("read") { _ in }
        return known.withLock { $0 } ?? ""
    }

    /// Host, port, database and schema.
    var location: String { "\((try? string().place) ?? "postgresql:") (schema \(schema))" }

    public func hurry() { patience.hurry() }

    public func close() {
        lane.close()
        leaseLane.close()
    }

    /// Whether the record is there; nothing is made.
    public func exists() async throws -> Bool {
        do {
            return try await version() != nil
        } catch let error as PostgresError {
            throw report(error, "open")
        }
    }

    // MARK: - Blocks

    /// Runs a block of statements as one transaction, with the tables brought up to date before the first one.
    func work<T: Sendable>(
        _ operation: String, _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        do {
            if known.withLock({ $0 }) == nil {
                let id = try await migrate()
                known.withLock { $0 = id }
            }
            return try await transaction(body)
        } catch let error as PostgresError {
            // Somebody made the database anew: the next use finds out what is there.
            if error.sqlState == "42P01" || error.sqlState == "3F000" {
                known.withLock { $0 = nil }
                tasks.forget()
            }
            throw report(error, operation)
        }
    }

    func transaction<T: Sendable>(_ body: @escaping @Sendable (PostgresSession) throws -> T) async throws -> T {
        try await lane.transaction(in: schema, within: Self.limit, body)
    }

    /// Runs a block that must be quick, on the connection that is kept for it.
    func renewal<T: Sendable>(_ body: @escaping @Sendable (PostgresSession) throws -> T) async throws -> T {
        do {
            return try await leaseLane.transaction(in: schema, within: Self.renewalLimit, body)
        } catch let error as PostgresError {
            throw report(error, "renew a lease in")
        }
    }

    /// Hears of changes over a connection of its own, where one is to be had.
    func listener(channel: String, connect: @escaping @Sendable (PostgresConnection) async throws -> Bool)
        -> PostgresListener
    {
        let (string, patience, limit) = (string, patience, connectLimit)
        return PostgresListener(channel: channel) {
            let made = try await patience.connect {
                try await PostgresConnection(string().with("application_name", Self.listening), within: limit)
            }
            return try await connect(made) ? made : nil
        }
    }

    /// As what a connection that listens is seen by the server.
    static let listening = "deploy-agent listening"

    /// A server that is out of connections for a moment is asked again: others close theirs right after use.
    private static func connect(_ string: ConnectionString, within limit: Duration) async throws -> PostgresConnection {
        let deadline = ContinuousClock.now + limit
        while true {
            do {
                return try await PostgresConnection(string, within: deadline - .now)
            } catch let error as PostgresError where error.sqlState == "53300" {
                guard ContinuousClock.now + .milliseconds(500) < deadline else { throw error }
                try await Task.sleep(for: .milliseconds(Int.random(in: 50...500)))
            }
        }
    }

    // MARK: - Errors

    func report(_ error: PostgresError, _ operation: String) -> LedgerError {
        let code: LedgerError.Code
        var advice = ""
        switch error.sqlState {
        case "42501":
            code = .forbidden
            advice =
                "; this user needs: GRANT CREATE ON DATABASE, or an existing schema \(schema) with GRANT USAGE, CREATE ON SCHEMA, "
                + "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES and GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES in it"
        case "25006":
            code = .unreachable
            advice =
                "; this is a standby or a read-only database: name the primary, or add target_session_attrs=read-write"
        case "53300":
            code = .unreachable
            advice = "; raise max_connections, or put a pooler in between"
        case "28P01", "28000", "3D000":
            code = .denied
            advice = "; check user, password and database in AGENT_LEDGER_URL"
        case "53100": code = .full
        case "XX001", "XX002": code = .corrupt
        default:
            code = error.isTransient || error.code == .cancelled ? .unreachable : error.isForGood ? .refused : .failed
        }
        return LedgerError(code, operation: operation, location: location, explanation: error.description + advice)
    }
}

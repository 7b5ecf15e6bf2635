public import Ledger
public import Postgres
import Synchronization

/// The ledger that many hosts share: a schema in a PostgreSQL database.
///
/// A connection is opened when there is something to ask or write, and closed when nothing more has come for a while. Every
/// block is one transaction, and nothing is kept in the session, so a pooler in transaction mode may stand between.
public final class PostgresLedger: LedgerStore {
    private struct State {
        var connection: PostgresConnection?
        var isMigrated = false
        /// Counts uses, so that a connection is closed only when there was none since.
        var uses = 0
    }

    private let string: ConnectionString
    let schema: String
    private let state = Mutex(State())

    /// How long a connection that nobody needs stays open.
    private static let idle = Duration.seconds(2)

    /// - Parameter schema: where the tables are; made when it is not there.
    public init(_ string: ConnectionString, schema: String = "deploy_agent") {
        self.string = string
        self.schema = schema
    }

    /// Host, port, database and schema.
    var location: String { "\(string.place) (schema \(schema))" }

    public func close() {
        state.withLock { $0.connection = nil }
    }

    // MARK: - Blocks

    /// Runs a block of statements as one transaction, with the tables brought up to date before the first one.
    func work<T: Sendable>(
        _ operation: String, _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        do {
            let connection = try await borrow()
            if !state.withLock(\.isMigrated) {
                try await migrate(connection)
                state.withLock { $0.isMigrated = true }
            }
            return try await transaction(connection, body)
        } catch let error as PostgresError {
            throw report(error, operation)
        }
    }

    func transaction<T: Sendable>(
        _ connection: PostgresConnection, _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        let schema = schema
        defer { closeWhenIdle() }
        do {
            return try await connection.transaction { session in
                // For this transaction alone; quoted, since it may be any name.
                try session.query("SELECT set_config('search_path', quote_ident($1), true)", [.text(schema)])
                return try body(session)
            }
        } catch let error as PostgresError {
            // After anything but a refusal the connection is closed; the next block opens another.
            if error.code != .refused { state.withLock { $0.connection = nil } }
            throw error
        }
    }

    private func borrow() async throws -> PostgresConnection {
        if let connection = state.withLock({ state in
            state.uses += 1
            return state.connection
        }) {
            return connection
        }
        let made = try await PostgresConnection(string)
        return state.withLock { state in
            // Of two that were opened at once one is enough.
            if let connection = state.connection { return connection }
            state.connection = made
            return made
        }
    }

    private func closeWhenIdle() {
        let uses = state.withLock(\.uses)
        Task { [weak self] in
            try? await Task.sleep(for: Self.idle)
            self?.state.withLock { state in
                if state.uses == uses { state.connection = nil }
            }
        }
    }

    // MARK: - Errors

    private func report(_ error: PostgresError, _ operation: String) -> LedgerError {
        let code: LedgerError.Code
        var advice = ""
        switch error.sqlState {
        case "42501":
            code = .denied
            advice =
                "; this user needs: GRANT CREATE ON DATABASE, or an existing schema \(schema) with GRANT USAGE, CREATE ON SCHEMA "
                + "and GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \(schema)"
        case "53100": code = .full
        case "XX001", "XX002": code = .corrupt
        default: code = error.isTransient || error.code == .invalid ? .unreachable : .failed
        }
        return LedgerError(code, operation: operation, location: location, explanation: error.description + advice)
    }
}

import CLibpq
import Glibc
import Threads

/// A connection as it is used on its thread: each call returns when the server has answered.
public final class PostgresSession {
    private let connection: OpaquePointer
    /// Readable once what is under way is to be given up.
    private let cancellation: Int32
    /// When what is under way must be over.
    var deadline = ContinuousClock.now
    /// Nothing can be asked any more.
    private(set) var isBroken = false
    private var notifications: [PostgresNotification] = []

    /// Connects.
    ///
    /// - Throws: `PostgresError` `unreachable`, `timedOut` or `cancelled`; `refused` is what the server says by its own code.
    init(_ string: ConnectionString, cancellation: Int32, deadline: ContinuousClock.Instant) throws {
        self.cancellation = cancellation
        self.deadline = deadline
        let string = try string.withAddresses(cancellation: cancellation, deadline: deadline)
        guard let connection = string.withParameters({ PQconnectStartParams($0, $1, 0) }) else {
            throw PostgresError(.unreachable, message: "no memory for a connection")
        }
        self.connection = connection
        // So that what the server says to a connection that it refuses comes with its code.
        PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
        do {
            try finishConnecting()
        } catch {
            PQfinish(connection)
            isFinished = true
            throw error
        }
        // What the server has to say beside its answers is nothing that anybody reads.
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
    }

    private var isFinished = false

    deinit {
        if !isFinished { PQfinish(connection) }
    }

    private func finishConnecting() throws {
        var events = Int16(POLLOUT)
        while true {
            if PQstatus(connection) == CONNECTION_BAD { throw connectionFailure() }
            try wait(for: events)
            switch PQconnectPoll(connection) {
            case PGRES_POLLING_OK: return
            case PGRES_POLLING_READING: events = Int16(POLLIN)
            case PGRES_POLLING_WRITING: events = Int16(POLLOUT)
            default: throw connectionFailure()
            }
        }
    }

    /// libpq's words name host, port and user, never the password.
    private func connectionFailure() -> PostgresError {
        PostgresError(connecting: String(cString: PQerrorMessage(connection)))
    }

    /// Whether a pooler stands between: the process that answers is not the one that the connection was made to. Then
    /// nothing may be left in the session, and notifications do not arrive.
    public func isPooled() throws -> Bool {
        try query("SELECT pg_backend_pid()").rows[0].get(0, as: Int.self) != Int(PQbackendPID(connection))
    }

    // MARK: - Statements

    /// What a statement came to.
    public struct Answer: Sendable {
        public var rows: [PostgresRow]
        /// Rows that were inserted, changed or deleted.
        public var affected: Int
    }

    /// Runs one statement.
    ///
    /// - Throws: `PostgresError`. After `refused` the connection goes on; after everything else it is closed.
    @discardableResult
    public func query(_ sql: String, _ parameters: [PostgresValue] = []) throws -> Answer {
        guard !isBroken else { throw PostgresError(.unreachable, message: "the connection is closed") }
        let values = parameters.map { $0.sent.map { strdup($0) } ?? nil }
        defer { values.forEach { free($0) } }
        return try answer(
            PQsendQueryParams(
                connection, sql, Int32(values.count), nil, values.map { UnsafePointer($0) }, nil, nil, 0))
    }

    /// Runs statements of a transaction that may be refused, or are to be undone; the transaction goes on after them.
    ///
    /// - Parameter body: its parameter says whether they are undone although nothing was refused.
    public func tentatively(_ body: (inout Bool) throws -> Void) throws {
        try query("SAVEPOINT tentative")
        var undo = false
        do {
            try body(&undo)
        } catch let error as PostgresError where error.code == .refused {
            try script("ROLLBACK TO SAVEPOINT tentative; RELEASE SAVEPOINT tentative")
            throw error
        }
        try script((undo ? "ROLLBACK TO SAVEPOINT tentative; " : "") + "RELEASE SAVEPOINT tentative")
    }

    /// Runs several statements, separated by `;`, in one round trip.
    ///
    /// - Returns: all their rows.
    /// - Throws: as `query`.
    @discardableResult
    func script(_ sql: String) throws -> Answer {
        guard !isBroken else { throw PostgresError(.unreachable, message: "the connection is closed") }
        return try answer(PQsendQuery(connection, sql))
    }

    private func answer(_ sent: Int32) throws -> Answer {
        guard sent == 1 else { throw broken(connectionFailure()) }
        do {
            try flush()
            return try collect()
        } catch let error as PostgresError where error.code == .refused {
            throw error
        } catch let error as PostgresError {
            if error.code == .timedOut || error.code == .cancelled { cancelOnServer() }
            throw broken(error)
        }
    }

    private func broken(_ error: PostgresError) -> PostgresError {
        isBroken = true
        return error
    }

    private func flush() throws {
        while true {
            let state = PQflush(connection)
            if state == 0 { return }
            guard state == 1 else { throw connectionFailure() }
            try wait(for: Int16(POLLIN | POLLOUT))
            try consume()
        }
    }

    private func consume() throws {
        guard PQconsumeInput(connection) == 1 else { throw connectionFailure() }
        while let notification = PQnotifies(connection) {
            notifications.append(
                PostgresNotification(
                    channel: String(cString: notification.pointee.relname),
                    payload: String(cString: notification.pointee.extra)))
            PQfreemem(notification)
        }
    }

    private func collect() throws -> Answer {
        var answer = Answer(rows: [], affected: 0)
        var failure: PostgresError?
        while true {
            while PQisBusy(connection) == 1 {
                try wait(for: Int16(POLLIN))
                try consume()
            }
            guard let result = PQgetResult(connection) else { break }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK, PGRES_SINGLE_TUPLE:
                answer.rows += Self.rows(result)
                answer.affected = Int(String(cString: PQcmdTuples(result))) ?? 0
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                answer.affected = Int(String(cString: PQcmdTuples(result))) ?? 0
            default:
                failure = failure ?? Self.failure(result, connectionFailure())
            }
        }
        if PQstatus(connection) == CONNECTION_BAD {
            // The server may have said why; the connection is gone all the same.
            var gone = failure ?? connectionFailure()
            gone = PostgresError(.unreachable, sqlState: gone.sqlState, message: gone.message)
            throw broken(gone)
        }
        if let failure { throw failure }
        return answer
    }

    /// The primary message only: detail and context quote rows.
    private static func failure(_ result: OpaquePointer, _ fallback: PostgresError) -> PostgresError {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        guard let state = field(agent_pg_diag_sqlstate()) else { return fallback }
        return PostgresError(
            .refused, sqlState: state, message: field(agent_pg_diag_message_primary()) ?? "the server refused it")
    }

    private static func rows(_ result: OpaquePointer) -> [PostgresRow] {
        let columns = PQnfields(result)
        return (0..<PQntuples(result)).map { row in
            PostgresRow(
                columns: (0..<columns).map { column in
                    guard PQgetisnull(result, row, column) == 0, let value = PQgetvalue(result, row, column) else {
                        return nil
                    }
                    let length = Int(PQgetlength(result, row, column))
                    return value.withMemoryRebound(to: UInt8.self, capacity: length) {
                        String(decoding: UnsafeBufferPointer(start: $0, count: length), as: UTF8.self)
                    }
                })
        }
    }

    // MARK: - Notifications

    /// Waits until a notification of a channel that was listened to has come, or the deadline.
    func nextNotification() throws -> PostgresNotification? {
        do {
            while notifications.isEmpty {
                try wait(for: Int16(POLLIN))
                try consume()
            }
        } catch let error as PostgresError where error.code == .timedOut {
            return nil
        } catch let error as PostgresError {
            throw broken(error)
        }
        return notifications.removeFirst()
    }

    // MARK: - Waiting

    private func wait(for events: Int16) throws {
        while true {
            var entries = [
                pollfd(fd: PQsocket(connection), events: events, revents: 0),
                pollfd(fd: cancellation, events: Int16(POLLIN), revents: 0),
            ]
            let remaining = deadline - ContinuousClock.now
            guard remaining > .zero else {
                throw PostgresError(.timedOut, message: "the server did not answer in time")
            }
            let milliseconds =
                remaining.components.seconds * 1000 + remaining.components.attoseconds / 1_000_000_000_000_000
            guard poll(&entries, 2, Int32(clamping: milliseconds + 1)) > 0 else { continue }
            if entries[1].revents != 0 { throw PostgresError(.cancelled, message: "it was cancelled") }
            if entries[0].revents != 0 { return }
        }
    }

    /// Asks the server to give up what it does for this connection. From a thread of its own: that is another connection,
    /// and a server that cannot be reached would hold us up.
    private func cancelOnServer() {
        guard let cancel = PQgetCancel(connection) else { return }
        let handle = UInt(bitPattern: cancel)
        do {
            try startThread("postgres-cancel", stackSize: 1024 * 1024) {
                guard let cancel = OpaquePointer(bitPattern: handle) else { return }
                var words = [CChar](repeating: 0, count: 256)
                _ = PQcancel(cancel, &words, 256)
                PQfreeCancel(cancel)
            }
        } catch {
            // The connection's end tells the server in its own time.
            PQfreeCancel(cancel)
        }
    }
}

/// What `NOTIFY` sent.
public struct PostgresNotification: Sendable, Equatable {
    public var channel: String
    public var payload: String
}

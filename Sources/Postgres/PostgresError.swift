/// Why the server could not be asked, or refused. Its text holds no parameter's value and no password.
public struct PostgresError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// The connection string cannot be read.
        case invalid
        /// No connection, or it broke: whether what was under way took effect is not known.
        case unreachable
        /// The answer did not come in time. The connection is closed.
        case timedOut
        /// The task was cancelled. The connection is closed.
        case cancelled
        /// The server refused it; `sqlState` says why.
        case refused
        /// An answer is not what was expected of it.
        case unexpected
    }

    public let code: Code
    /// Five letters and digits (https://www.postgresql.org/docs/current/errcodes-appendix.html); nil where no server spoke.
    public let sqlState: String?
    public let message: String

    public init(_ code: Code, sqlState: String? = nil, message: String) {
        self.code = code
        self.sqlState = sqlState
        self.message = message
    }

    /// Reads what libpq says of a connection that could not be made. Where the server spoke, its code stands before its
    /// words (`FATAL:  28P01: password …`), and a line of its source after them.
    init(connecting text: String) {
        var lines = text.split(whereSeparator: \.isNewline).filter { !$0.contains("LOCATION:  ") }
        var state: String?
        for (index, line) in lines.enumerated() {
            guard let found = line.firstMatch(of: #/:  ([0-9A-Z]{5}): /#) else { continue }
            state = String(found.1)
            lines[index] = Substring(line.replacing(#/:  [0-9A-Z]{5}: /#, with: ": ", maxReplacements: 1))
        }
        let message = lines.joined(separator: " ").split { $0 == "\t" || $0 == " " }.joined(separator: " ")
        self.init(
            .unreachable, sqlState: state, message: message.isEmpty ? "the connection failed" : message)
    }

    public var description: String { message + (sqlState.map { " (SQLSTATE \($0))" } ?? "") }

    /// Whether the server does not take it, whoever tries it again: what it lacks (class 0A), a value (22), a constraint (23,
    /// 44), the statement (42, but for tables that are gone: they are made anew), a limit (54), a table's state (55000), or
    /// what a trigger of somebody's raises (P0).
    public var isForGood: Bool {
        // Tables that are not there yet; two that wrote the same at the same moment; a full queue of notifications.
        let passing = ["42P01", "3F000", "23505", "54000"]
        guard code == .refused, let sqlState, !passing.contains(sqlState) else { return false }
        return ["0A", "22", "23", "42", "44", "54", "P0"].contains(String(sqlState.prefix(2))) || sqlState == "55000"
    }

    /// Whether the same again may succeed: the server was restarted, a standby, or out of connections; two transactions
    /// met.
    public var isTransient: Bool {
        switch code {
        case .timedOut: return true
        case .invalid, .cancelled, .unexpected: return false
        case .unreachable, .refused:
            guard let sqlState else { return code == .unreachable }
            // Class 08 connection, 40 rollback, 53 resources, 57 stopped by somebody or by time, shutdown and start;
            // 25006 read-only (a standby); 55P03 lock.
            return ["08", "40", "53", "57"].contains(String(sqlState.prefix(2)))
                || sqlState == "25006" || sqlState == "55P03"
        }
    }
}

import GRDB
import Ledger

extension LedgerError {
    /// Says in the ledger's terms what SQLite reported (https://www.sqlite.org/rescode.html); errors that are not SQLite's
    /// are thrown as they are.
    static func reporting<T>(_ operation: String, _ path: String, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let error as DatabaseError {
            throw LedgerError(error, operation, path)
        }
    }

    /// The same for asynchronous work.
    static func reporting<T>(
        _ operation: String, _ path: String, _ body: () async throws -> T
    ) async throws -> T {
        do {
            return try await body()
        } catch let error as DatabaseError {
            throw LedgerError(error, operation, path)
        } catch is CancellationError {
            throw LedgerError(.failed, operation: operation, location: path, explanation: "the agent is being stopped")
        }
    }

    private init(_ error: DatabaseError, _ operation: String, _ path: String) {
        let code: LedgerError.Code
        let advice: String
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            code = .corrupt
            advice = "the file is damaged or no database; it was left as it is: restore it from a copy, or move it away"
        case .SQLITE_FULL:
            code = .full
            advice = "no space is left on the disk"
        case .SQLITE_CANTOPEN, .SQLITE_NOTFOUND:
            code = .unreachable
            advice = "it cannot be opened; does its folder exist, and may this user write there?"
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            code = .denied
            advice = "this user may not write to it"
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            code = .unreachable
            advice = "another process kept it locked for 5 seconds"
        case .SQLITE_IOERR:
            code = .unreachable
            advice = "the disk reported an input/output error"
        default:
            code = .failed
            advice = "SQLite reported an error"
        }
        // Only SQLite's own words: `description` would add the statement and its values.
        self.init(
            code, operation: operation, location: path,
            explanation: "\(advice) (SQLite \(error.extendedResultCode.rawValue): \(error.message ?? "no message"))")
    }
}

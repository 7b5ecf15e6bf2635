import Glibc
import Ledger
import Log
package import Postgres
import Shell

/// Where the record is: a file, or a server that many hosts share.
public enum LedgerAddress: Sendable, Equatable {
    /// - path: absolute.
    case sqlite(path: String)
    /// - text: as set; nil when `file` holds it.
    /// - file: is read again for every connection.
    case postgresql(text: String?, file: String?, schema: String)

    public var isShared: Bool {
        if case .postgresql = self { true } else { false }
    }

    /// Without credentials.
    public var description: String {
        switch self {
        case .sqlite(let path): "sqlite:\(path)"
        case .postgresql(_, _, let schema):
            "postgresql://\((try? connectionString().place) ?? "") (schema \(schema))"
        }
    }

    /// What must be written nowhere.
    package var passwords: [String] { (try? connectionString().passwords) ?? [] }

    /// The text as set or as the file has it now; nil for a file of SQLite's.
    package var text: String? {
        guard case .postgresql(let text, let file, _) = self else { return nil }
        return text ?? file.flatMap(Settings.readTokenFile)
    }

    package func connectionString(_ learn: ([String]) -> Void = { _ in }) throws -> ConnectionString {
        guard let text else {
            throw PostgresError(.unreachable, message: "\(Setting.ledgerURLFile.name) cannot be read or is empty")
        }
        let string: ConnectionString
        do {
            string = try ConnectionString(text)
        } catch let error as PostgresError where error.code == .invalid {
            // Read with the settings it was in order: the file has changed since.
            throw PostgresError(
                .invalid, message: "\(Setting.ledgerURLFile.name) holds no ledger's URL: \(error.message)")
        }
        if case .postgresql(text: nil, _, _) = self { learn(string.passwords) }
        return string
    }

    /// Whether both name the same server, database and schema, by whatever user and in whatever form.
    package func isSamePlace(as other: LedgerAddress) -> Bool {
        guard case .postgresql(_, _, let schema) = self, case .postgresql(_, _, schema) = other else { return false }
        let (place, otherPlace) = (try? connectionString().place, try? other.connectionString().place)
        return self == other || place != nil && place == otherPlace
    }

    /// Whether both name the same file.
    package func isSameFile(as other: LedgerAddress) -> Bool {
        guard case .sqlite(let path) = self, case .sqlite(let otherPath) = other else { return false }
        var (info, otherInfo) = (stat(), stat())
        guard stat(path, &info) == 0, stat(otherPath, &otherInfo) == 0 else { return path == otherPath }
        return info.st_dev == otherInfo.st_dev && info.st_ino == otherInfo.st_ino
    }
}

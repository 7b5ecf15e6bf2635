import Foundation
import Glibc
import Shell

/// A person's wish to go back to a commit, for whoever works on the workspace next.
///
/// It lies in a file beside the lock until it has been carried out, so that it outlives an agent that is killed meanwhile.
public struct RollbackRequest: Codable, Sendable, Equatable {
    /// Full id of the commit to go back to.
    public var commit: String
    /// The commit that is rolled back from: it is held. Nil when there is none.
    public var held: String?
    /// Whether PRE_DEPLOY runs too.
    public var withPre: Bool

    enum CodingKeys: String, CodingKey {
        case commit, held
        case withPre = "with_pre"
    }

    /// The request that lies there; nil when there is none, or it cannot be read.
    static func read(_ folder: WorkspaceFolder) -> RollbackRequest? {
        guard let bytes = TextFile.read(folder.rollback, limit: 4096) else { return nil }
        return try? JSONDecoder().decode(RollbackRequest.self, from: Data(bytes))
    }

    /// Puts it there, in the place of an earlier one.
    /// - Throws: `SettingsError` when the state directory cannot be written.
    func write(_ folder: WorkspaceFolder) throws {
        let bytes = try Array(JSONEncoder().encode(self))
        let fresh = folder.rollback + ".new"
        let file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer { if file >= 0 { close(file) } }
        guard file >= 0, bytes.withUnsafeBytes({ Glibc.write(file, $0.baseAddress, $0.count) }) == bytes.count,
            fsync(file) == 0, rename(fresh, folder.rollback) == 0
        else {
            throw SettingsError(
                Setting.stateDirectory.name, "cannot write \(folder.rollback): \(errorText(errno))", source: .fallback)
        }
    }

    static func remove(_ folder: WorkspaceFolder) { unlink(folder.rollback) }
}

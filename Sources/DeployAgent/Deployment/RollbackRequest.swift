import Execution
import Foundation
import Glibc
import Ledger
import Settings
import Shell

/// A person's wish to go back to a commit, for whoever works on the workspace next.
///
/// It lies in a file beside the lock until it has been carried out, so that it outlives an agent that is killed meanwhile.
public struct RollbackRequest: Codable, Sendable, Equatable {
    /// Full id of the commit to go back to.
    public var commit: String
    /// The commit that is rolled back from: it is held. Nil for the one that is live when it is carried out.
    public var held: String?
    /// Whether PRE_DEPLOY runs too.
    public var withPre: Bool
    /// Whether nobody asked for it: it follows a failed deployment by itself.
    public var followsFailure: Bool?
    /// Whether nobody asked for it: the workspace lacks what was gone back to. Never in the file.
    var staysBack = false
    /// When it was asked for, in milliseconds since 1970: what was recorded after that has carried it out.
    public var time: Int64 = Timestamp.now.milliseconds

    /// Whether a person asked for it, who sees what comes of it.
    var isAsked: Bool { followsFailure != true && !staysBack }

    enum CodingKeys: String, CodingKey {
        case commit, held, time
        case withPre = "with_pre"
        case followsFailure = "follows_failure"
    }

    /// The request that lies there, what a person asked for first; nil when there is none, or it cannot be read.
    static func read(_ folder: WorkspaceFolder) -> RollbackRequest? {
        let asked = read(folder.rollback)
        // Where an earlier version had put it.
        if asked?.followsFailure == true { rename(folder.rollback, folder.wayBack) }
        return asked ?? read(folder.wayBack)
    }

    private static func read(_ path: String) -> RollbackRequest? {
        guard let bytes = TextFile.read(path, limit: 4096) else { return nil }
        return try? JSONDecoder().decode(RollbackRequest.self, from: Data(bytes))
    }

    private func path(_ folder: WorkspaceFolder) -> String {
        followsFailure == true ? folder.wayBack : folder.rollback
    }

    /// Puts it there, in the place of an earlier one.
    /// - Throws: `SettingsError` when the state directory cannot be written.
    func write(_ folder: WorkspaceFolder) throws {
        guard
            try TextFile.writeDurably(
                Array(JSONEncoder().encode(self)), to: path(folder), by: ".\(getpid()).new", made: folder.own)
        else {
            throw SettingsError(
                Setting.stateDirectory.name, "cannot write \(path(folder)): \(errorText(errno))", source: .fallback)
        }
    }

    /// Removes this one; another one that came in its place stays.
    func remove(_ folder: WorkspaceFolder) {
        if Self.read(path(folder)) == self { unlink(path(folder)) }
    }

    /// Forgets the way back that was to follow a failure by itself.
    static func removeWayBack(_ folder: WorkspaceFolder) { unlink(folder.wayBack) }
}

extension HistoryFilter {
    /// The newest deployment on a workspace.
    static func newest(_ scope: Scope) -> HistoryFilter {
        HistoryFilter(host: scope.host, subject: .workspace(scope.workspace), limit: 1)
    }

    /// What succeeded on a workspace, as far back as a rollback looks.
    static func succeeded(_ scope: Scope) -> HistoryFilter {
        HistoryFilter(
            host: scope.host, subject: .workspace(scope.workspace), limit: WayBack.depth, status: .succeeded)
    }
}

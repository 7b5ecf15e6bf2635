import Git
import Glibc
import Ledger
import Settings

/// Finds a hook's folder that is missing or leads out, before anything is recorded or run.
struct HookFolders {
    let settings: Settings
    let commit: String
    let repository: Repository
    /// Canonical path of the workspace that is watched itself; nil where a remote's commit is published.
    let watched: String?

    /// - Throws: `SettingsError` that names all of them; `GitError`.
    func check() async throws {
        var problems: [SettingsError.Problem] = []
        // What another repository has is known once it is fetched.
        for hook in settings.hooks where hook.folder != "." && hook.remote == nil {
            if let text = try await problem(of: hook) {
                problems.append(
                    SettingsError.Problem(
                        name: hook.folderSetting, text: "\"\(hook.folder)\" \(text); it takes \(Setting.folderForm)",
                        source: settings.listing.first { $0.name == hook.folderSetting }?.source ?? .fallback))
            }
        }
        guard problems.isEmpty else { throw SettingsError(problems) }
    }

    private func problem(of hook: HookSettings) async throws -> String? {
        // In the workspace itself a folder need not be tracked; elsewhere only what the commit holds is there.
        if let watched {
            if resolveFolder(hook.folder, below: watched) != nil { return nil }
            if mayBeMade(hook), access("\(watched)/\(hook.folder)", F_OK) != 0 { return nil }
            return "is no folder inside \(watched)"
        }
        switch try await repository.folder(hook.folder, in: commit) {
        case .folder: return nil
        case .missing: return mayBeMade(hook) ? nil : "does not exist in commit \(commit.prefix(7))"
        case .notAFolder: return "is no folder in commit \(commit.prefix(7))"
        case .escapes: return "leads out of the checkout by a symbolic link in commit \(commit.prefix(7))"
        }
    }

    /// PRE_DEPLOY may make the folder in which a later hook runs.
    private func mayBeMade(_ hook: HookSettings) -> Bool {
        hook.hook != .preDeploy && settings.hook(.preDeploy) != nil
    }
}

import Git
import Logging
import Settings

/// The workspace, before anything is made of it: what a power loss has damaged is found before a hook runs.
extension Watcher {
    /// Looks at what is there.
    /// - Throws: `SettingsError` for a checkout of somebody's own that is damaged; `GitError`.
    func readPlace() async throws -> Workspace.State {
        do {
            return try await workspace.state()
        } catch let error as GitError where error.code == .corrupt {
            if try await isMended(), let place = try? await workspace.state() { return place }
            // What cannot be opened now is not damaged for that.
            guard let damage = workspace.damage(after: error) else { throw error }
            throw damaged(damage)
        }
    }

    /// Expects that git can read what is checked out.
    /// - Throws: `SettingsError` where it cannot; `GitError`.
    func expectReadable(_ git: GitProgram) async throws {
        do {
            try await workspace.expectReadable(from: followed.store, git)
        } catch let error as GitError where error.code == .corrupt {
            if try await isMended() {
                do {
                    return try await workspace.expectReadable(from: followed.store, git)
                } catch let again as GitError where again.code == .corrupt {}
            }
            throw damaged(error.explanation)
        }
    }

    func damaged(_ what: String) -> SettingsError {
        .damaged(workspace, what, hasRemote: watched.ofCheckout.remote != nil)
    }

    private func isMended() async throws -> Bool {
        let settings = watched.ofCheckout
        guard let remote = settings.remote else { return false }
        var git = followed.git
        let done = try await workspace.mend(
            from: followed.store, origin: remote.remote.address, git.program(for: remote, settings).program)
        for step in done { logger.warning("\(step)") }
        return !done.isEmpty
    }
}

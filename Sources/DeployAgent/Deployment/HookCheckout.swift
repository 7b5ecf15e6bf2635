import Execution
import Git
import Glibc
import Ledger
import Logging
import Settings

/// The checkout of a hook that comes from a repository of its own.
///
/// Lies in the state directory and stays from run to run, as a workspace does: tracked files are set to the commit, what a
/// run wrote beside them is left.
struct HookCheckout: Sendable {
    let hook: Hook
    let remote: RemoteSettings
    let folder: WorkspaceFolder
    let settings: GitSettings
    let logger: Logger

    private var home: String { Self.home(of: hook, folder) }

    private static func home(of hook: Hook, _ folder: WorkspaceFolder) -> String {
        "\(folder.path)/hooks/\(hook.rawValue)"
    }

    /// Removes the checkouts of hooks that come from the commit again.
    /// - Throws: `GitError`.
    static func tidy(_ hooks: [HookSettings], _ folder: WorkspaceFolder) throws {
        for hook in Hook.allCases where !hooks.contains(where: { $0.hook == hook && $0.remote != nil }) {
            try CommitStore(folder: home(of: hook, folder)).removeWithFolder()
        }
    }

    /// Takes back what a run has configured with git in its checkout.
    static func restore(_ hook: Hook, _ folder: WorkspaceFolder) {
        // What fails here fails again, and is said, when the checkout is used next.
        try? checkout(home(of: hook, folder)).restoreConfiguration()
    }

    private static func checkout(_ home: String) -> OwnCheckout {
        OwnCheckout(Workspace(path: home + "/checkout"), of: CommitStore(folder: home))
    }

    /// What a hook that cannot be had comes to: where waiting may help it is put off, and a lenient one fails.
    static func result(of error: GitError, mode: HookMode) -> RunResult {
        let isWaitedFor = mode == .strict && !error.code.isPermanent && error.code != .signature
        return RunResult(
            status: error.code == .stopped ? .interrupted : isWaitedFor ? .deferred : .failed, completedAt: .now,
            errorMessage: "\(error.description); it was not run")
    }

    /// Sets the checkout to what the remote has now.
    ///
    /// - Returns: its path, the commit, and how many warnings of what of it is not there were said.
    /// - Throws: `GitError`.
    func update(_ git: GitProgram) async throws -> (path: String, commit: String, warnings: Int) {
        // Closed to other users, whatever the workspace is.
        let all = folder.path + "/hooks"
        mkdir(all, 0o700)
        chmod(all, 0o700)
        do {
            return try await checkOut(git)
        } catch let error as GitError
            where [.corrupt, .publish, .notACheckout, .unreachable].contains(error.code)
        {
            let store = CommitStore(folder: home)
            if error.code == .unreachable, await store.isSound(content: true, git) { throw error }
            // It is all a copy: once, it is made anew.
            logger.notice("\(home) is made anew: \(error.description)")
            try store.removeWithFolder()
            return try await checkOut(git)
        }
    }

    private func checkOut(_ git: GitProgram) async throws -> (path: String, commit: String, warnings: Int) {
        let store = CommitStore(folder: home)
        let workspace = Workspace(path: home + "/checkout")
        try await store.prepare(git)
        let tip = try await git.tip(of: remote.remote, from: store.path)
        if await !store.holds(tip.commit) || store.depth != settings.depth {
            try await store.fetch(tip, from: remote.remote, depth: settings.depth, git)
        }
        try await settings.signatures?.expect(tip.commit, in: store.path, folder: home, git)
        let content = try await store.fetchContent(of: tip.commit, from: remote.remote, settings.content, git)
        for warning in content.warnings { logger.warning("\(hook.rawValue): \(warning)") }
        let own = Self.checkout(home)
        try own.restoreConfiguration()
        _ = try await workspace.publish(
            tip.commit, from: store, stagedOutput: false, origin: remote.remote.address,
            submodules: content.submodules,
            content.git)
        try own.keepConfiguration()
        do {
            try await store.tidyContent(of: [tip.commit], git)
            try await store.tidy(git)
            try await workspace.tidy(submodules: content.submodules, sharing: store, git)
        } catch {
            logger.warning("\(hook.rawValue): its checkout could not be tidied up: \(error)")
        }
        return (workspace.path, tip.commit, content.warnings.count)
    }
}

import Execution
import Git
import Ledger
import Log
import Logging
import Settings
import Shell

/// The remote that a workspace follows: asked where its ref points, fetched from into the agent's own store, and left alone
/// for a time where it refuses.
///
/// `settings` are everywhere those that say what is followed. Calls must not overlap.
final class FollowedRemote {
    let store: CommitStore
    private let log: LogOutput
    private let logger: Logger
    private let stop: StopSignal
    /// The git that asks remotes.
    private(set) var git: RemoteGit
    private var refusals = RemoteRefusals()
    /// Whether the store was found sound since the remote answered last.
    private var isStoreExamined = false
    /// The error after which it was examined last and found sound.
    private var soundDespite: String?

    init(folder: WorkspaceFolder, environment: ProcessEnvironment, stop: StopSignal, log: LogOutput) {
        store = CommitStore(folder: folder.path)
        git = RemoteGit(environment: environment, marker: folder.gitMarker, stop: stop, log: log)
        self.log = log
        self.stop = stop
        logger = log.logger()
    }

    /// When a remote that refused is asked again; nil for an error that none is left alone for.
    func retryAt(after error: GitError) -> Timestamp? { refusals.retryAt(after: error) }

    // MARK: - Commits

    /// Asks where the ref points now; that commit is in the store then.
    func tip(
        of remote: RemoteSettings, _ settings: Settings, _ trigger: Trigger
    ) async throws -> (tip: RemoteTip, source: DeploymentPlan.Source) {
        let (git, basis) = try self.git.program(for: remote, settings)
        let tip = try await refusals.asking(
            .remote, basis, isPoll: trigger == .poll, interval: settings.interval
        ) { try await fetchTip(of: remote, settings, git) }
        return (tip, source(of: tip, remote, settings, git))
    }

    private func fetchTip(of remote: RemoteSettings, _ settings: Settings, _ git: GitProgram) async throws -> RemoteTip
    {
        try await store.prepare(git)
        let tip = try await git.tip(of: remote.remote, from: store.path)
        isStoreExamined = false
        let depth = settings.git.depth
        if await !store.holds(tip.commit) || store.depth != depth {
            do {
                try await store.tidyUndeployed(git)
            } catch {
                logger.warning("what no release needs any more could not be removed: \(error)")
            }
            logger.info("fetching \(tip.commit.prefix(7)) from \(remote.remote.displayURL)")
            try await store.fetch(tip, from: remote.remote, depth: depth, git)
        }
        return tip
    }

    /// A commit that was deployed before; the remote is asked only for one that is no longer here.
    func earlier(
        _ commit: String, of remote: RemoteSettings, _ settings: Settings, workspace: Workspace, isPoll: Bool
    ) async throws -> DeploymentPlan.Source {
        let (git, basis) = try self.git.program(for: remote, settings)
        try await store.prepare(git)
        let tip = RemoteTip(commit: commit, reference: nil)
        let releases = Releases(of: store, workspace: workspace.path)
        if await !store.keeps(commit), await releases.kept(commit, git) == nil {
            try await refusals.asking(.commit(commit), basis, isPoll: isPoll, interval: settings.interval) {
                try await store.fetch(tip, from: remote.remote, depth: settings.git.depth, git)
            }
        }
        return source(of: tip, remote, settings, git)
    }

    /// A commit that lies in the store, and may be fetched anew.
    private func source(
        of tip: RemoteTip, _ remote: RemoteSettings, _ settings: Settings, _ git: GitProgram
    ) -> DeploymentPlan.Source {
        let (store, logger, depth) = (store, logger, settings.git.depth)
        return DeploymentPlan.Source(store: store, remoteURL: remote.remote.address, git: git) {
            guard await !store.isSound(content: true, git) else { return false }
            logger.notice("\(store.path) is damaged and is fetched anew")
            try store.discard()
            try await store.prepare(git)
            try await store.fetch(tip, from: remote.remote, depth: depth, git)
            return true
        }
    }

    // MARK: - What else a commit needs

    /// Gets what a commit needs besides its own objects.
    ///
    /// - Parameter wanted: by the commit's own settings.
    /// - Returns: with what of the commit will not be there.
    func complete(
        _ source: DeploymentPlan.Source, _ commit: String, _ wanted: CommitContent.Options, of remote: RemoteSettings,
        _ settings: Settings, isPoll: Bool
    ) async throws -> (source: DeploymentPlan.Source, warnings: [String]) {
        let content = try await refusals.asking(
            .content(commit: commit, wanted), try git.program(for: remote, settings).basis,
            isPoll: isPoll, interval: settings.interval
        ) { try await source.store.fetchContent(of: commit, from: remote.remote, wanted, source.git) }
        var source = source
        (source.submodules, source.git) = (content.submodules, content.git)
        return (source, content.warnings)
    }

    // MARK: - A damaged store

    /// The store is a copy: when something failed and it cannot be read, it is removed, to be fetched anew. One that was
    /// found sound is not examined again until the remote answers: an outage is no reason to read it at every check.
    ///
    /// - Returns: whether something was removed, and another attempt is worth while.
    func removeDamagedStore(after error: GitError, _ settings: Settings) async throws -> Bool {
        guard !isStoreExamined, error.code == .corrupt || error.code == .unreachable || error.code == .publish,
            !stop.isRequested,
            let remote = settings.remote, let git = try? self.git.program(for: remote, settings).program
        else { return false }
        guard error.explanation != soundDespite else { return false }
        let isDeep = error.code != .unreachable
        guard await !store.isSound(content: isDeep, git) else {
            isStoreExamined = true
            let removed = try await store.discardDamagedSubmodules(content: isDeep, git)
            for path in removed { logger.notice("\(path) is damaged and is fetched anew") }
            // That of a submodule, say: an outage is no reason to look at each check.
            soundDespite = removed.isEmpty ? error.explanation : nil
            return !removed.isEmpty
        }
        logger.notice("\(store.path) is damaged and is fetched anew: \(log.secrets.mask(error.explanation))")
        try store.discard()
        return true
    }
}

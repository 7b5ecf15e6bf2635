import Git
import Ledger
import Settings

/// What of the commits that were deployed before stays in the state directory, and what goes.
struct KeptReleases {
    let scope: Scope
    let publish: PublishSettings
    let store: CommitStore
    let git: GitProgram
    let ledger: any LedgerStore

    private var releases: Releases { Releases(of: store, workspace: scope.workspace) }
    /// Of a workspace that was a link all may go.
    private var count: Int { publish.mode == .symlink ? publish.keptReleases : 0 }

    /// When the time of the next release is over that stays for AGENT_RELEASE_GRACE alone, or for the way back; nil when none
    /// does. One look into the folder.
    func nextEnd() throws -> Timestamp? {
        try releases.nextEnd(keep: count, grace: publish.releaseGrace).map(Timestamp.init(seconds:))
    }

    /// Removes the releases that are not needed any more, and lets go of commits and of what else they need.
    ///
    /// - Parameters:
    ///   - live: the commit that is published, or was to be.
    ///   - held: the commit that was rolled back from.
    /// - Returns: as `nextEnd`, without the way back.
    /// - Throws: `GitError`, `LedgerError`.
    @discardableResult
    func tidy(live: String, held: String?) async throws -> Timestamp? {
        let succeeded = try await ledger.history(.succeeded(scope))
        // Commits that failed past publishing must not push out the good one.
        let wayBack = count == 0 ? nil : WayBack.target(from: live, succeeded, held: held)
        try releases.prune(keep: count, grace: publish.releaseGrace, wayBack: wayBack)
        // So that there is a way back without the remote.
        var last: [String] = []
        for commit in succeeded.map(\.commit) where !last.contains(commit) && last.count <= publish.keptReleases {
            last.append(commit)
        }
        try await store.keep(live, and: Set(last), git)
        try await store.tidyContent(of: Set(last).union([live]), git)
        return try releases.nextEnd(keep: count, grace: publish.releaseGrace, wayBack: wayBack)
            .map(Timestamp.init(seconds:))
    }
}

extension Timestamp {
    fileprivate init(seconds: Double) { self.init(milliseconds: Int64((seconds * 1000).rounded(.up))) }
}

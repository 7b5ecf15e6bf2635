extension Workspace {
    /// Removes what is no longer needed, also in the repositories inside. In somebody's own repository nothing but what git
    /// itself would remove.
    ///
    /// - Parameter store: what it was published from: objects that both have lie on the disk once where it allows that.
    /// - Throws: `GitError`; nothing that is needed is lost then.
    public func tidy(
        submodules: [Submodule] = [], sharing store: CommitStore? = nil, _ git: GitProgram
    ) async throws {
        for submodule in submodules {
            try await Workspace(path: "\(path)/\(submodule.path)")
                .tidy(submodules: submodule.inner, sharing: submodule.store, git)
        }
        guard let folders = try? await repository.gitFolders() else { return }
        let note = WorkNote(in: folders.own)
        // One that is there tells the next publishing of locks that are there.
        guard !note.isThere else { return }
        try await note.cover {
            let housekeeping = Housekeeping(folder: folders.common, git: git)
            guard housekeeping.isWorthWhile else { return }
            guard let own = await UntouchedCheckout(self, git) else { return try await housekeeping.runWithCare() }
            own.forgetEarlierCommits()
            try await housekeeping.run(sharing: store?.path)
        }
    }
}

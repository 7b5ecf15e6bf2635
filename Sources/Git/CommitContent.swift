import Shell

/// What a commit needs besides its own objects, all fetched before anything of the commit is used.
public struct CommitContent: Sendable {
    /// What of it is wanted.
    public struct Options: Sendable, Hashable {
        public var depth: Int
        public var hasSubmodules: Bool
        public var hasLFS: Bool

        public init(depth: Int, hasSubmodules: Bool, hasLFS: Bool) {
            self.depth = depth
            self.hasSubmodules = hasSubmodules
            self.hasLFS = hasLFS
        }
    }

    public var submodules: [Submodule] = []
    /// The git that writes large files out as themselves, where there are some.
    public var git: GitProgram
    /// What of the commit will not be there.
    public var warnings: [String] = []

    /// A commit that needs nothing else.
    public init(git: GitProgram) { self.git = git }

    mutating func warn(of pointers: [LFSPointer], _ reason: String) {
        if let warning = LFSPointer.warning(of: pointers, reason) { warnings.append(warning) }
    }
}

extension CommitStore {
    /// Fetches what a commit that is in the store needs besides.
    ///
    /// - Parameter remote: where the commit is from: relative URLs are relative to it.
    /// - Throws: `GitError` of one of the codes of remotes.
    public func fetchContent(
        of commit: String, from remote: Remote, _ options: CommitContent.Options, _ git: GitProgram
    ) async throws -> CommitContent {
        var content = CommitContent(git: git)
        if try await repository.usesLFS(commit) {
            if !options.hasLFS || !git.has("git-lfs") {
                content.git = git.withoutLFS
                content.warn(
                    of: try await repository.lfsPointers(in: commit),
                    options.hasLFS ? "there is no git-lfs program: install it" : "AGENT_GIT_LFS is off")
            } else {
                content.git = git.withLFS
                try await fetchLFS(commit, from: remote, content.git)
                content.warn(
                    of: try await missingLargeFiles(of: commit),
                    "git lfs leaves them out, by lfs.fetchexclude or lfs.fetchinclude")
            }
        }
        guard options.hasSubmodules else { return content }
        for entry in try await SubmoduleEntry.all(of: commit, in: self, git) {
            guard let url = entry.url else {
                content.warnings.append(
                    "\(entry.path) is a submodule that .gitmodules has no URL of: it is left as an empty folder")
                continue
            }
            let operation = "fetch submodule \(entry.path)"
            let inner = try Remote(submodule: url, of: remote, operation)
            let store = submodule(entry.path)
            closeSubmodules()
            try await store.prepare(git)
            var isThere = await store.holds(entry.commit)
            if !isThere { isThere = await store.keeps(entry.commit) }
            if !isThere || store.depth != options.depth {
                let tip = RemoteTip(commit: entry.commit, reference: nil)
                do {
                    try await store.fetch(tip, from: inner, depth: options.depth, git)
                } catch let error as GitError {
                    throw error.during("\(operation): \(error.operation)")
                }
            }
            let own = try await store.fetchContent(of: entry.commit, from: inner, options, content.git)
            content.git = own.git
            content.warnings += own.warnings.map { "in submodule \(entry.path): \($0)" }
            content.submodules.append(
                Submodule(
                    path: entry.path, commit: entry.commit, store: store, url: inner.address, inner: own.submodules))
        }
        return content
    }
}

extension Remote {
    /// Where a submodule is from, as git resolves it.
    ///
    /// What a commit says must not reach what only the machine's user may: files, and programs by `ext::`. Beside a remote
    /// that is on this machine itself, files are as good as that.
    /// - Throws: `GitError` `missingRepository` for a URL that is not taken.
    init(submodule url: String, of parent: Remote, _ operation: String) throws {
        var url = url
        if url.hasPrefix("./") || url.hasPrefix("../") {
            var base = parent.address
            while base.hasSuffix("/") { base.removeLast() }
            while true {
                if url.hasPrefix("./") {
                    url.removeFirst(2)
                } else if url.hasPrefix("../") {
                    url.removeFirst(3)
                    // `host:repository` has its last slash before the colon.
                    guard let cut = base.lastIndex(where: { $0 == "/" || $0 == ":" }) else { break }
                    base = String(base[..<(base[cut] == ":" ? base.index(after: cut) : cut)])
                } else {
                    break
                }
            }
            url = base.hasSuffix(":") ? base + url : base + "/" + url
        }
        // What is in the repository is no secret, and no argument: other credentials are a matter of settings.
        let remote = Remote(
            url: Remote(url: url, ref: nil).address, ref: nil,
            names: Remote.Names(url: "its URL in .gitmodules", ref: "that it was pushed"))
        let scheme = remote.url.firstRange(of: "://").map { remote.url[..<$0.lowerBound].lowercased() }
        let isTaken =
            switch scheme {
            case "https", "http", "ssh", "git", "git+ssh", "ssh+git": true
            case "file": parent.isOnThisMachine
            case nil: remote.url.hasPrefix("/") ? parent.isOnThisMachine : remote.isSSH && !remote.url.contains("::")
            default: false
            }
        guard isTaken, !remote.url.hasPrefix("-") else {
            throw GitError(
                .missingRepository, operation: operation,
                explanation:
                    "\(remote.url) in .gitmodules is no URL that is followed; use https or ssh, or set AGENT_SUBMODULES=off"
            )
        }
        self = remote
    }
}

import Glibc

/// The agent's own bare repository for one workspace: commits are fetched here and staged from here, so that the
/// workspace is not touched before its time.
///
/// Only the holder of the workspace's lock may call what changes it.
public struct CommitStore: Sendable {
    /// Path of the bare repository.
    public let path: String
    /// Path of the staged checkout.
    public let stage: String
    /// Path of the folder with the releases of a workspace that is a link, see `Releases`.
    public let releases: String

    /// Points to the commit fetched last; moved by git only once all of its objects are there.
    private static let target = "refs/agent/target"

    /// - Parameter folder: the workspace's folder in the state directory.
    public init(folder: String) { self.init(folder: folder, stage: folder + "/stage") }

    /// - Parameter stage: of a submodule, inside its parent's.
    init(folder: String, stage: String) {
        path = folder + "/repo.git"
        self.stage = stage
        releases = folder + "/releases"
    }

    /// What the bare repository keeps of the staged checkout: its index and HEAD.
    var stageAdministration: String { path + "/worktrees/stage" }

    public var repository: Repository { Repository(path: path) }

    /// Creates the repository where there is none; one that a killed git left half made is completed. What it is configured
    /// by is then the agent's own.
    public func prepare(_ git: GitProgram) async throws {
        if access(path + "/HEAD", F_OK) != 0 || access(path + "/objects", F_OK) != 0 {
            try await git.expect(
                ["init", "--quiet", "--bare", "--object-format=sha1", "--", path], in: "/",
                operation: "create \(path)", code: .publish)
        }
        try resetConfiguration()
    }

    /// Closes it to other users: what a hook made of tracked files lies in its objects, too.
    public func hide() { chmod(path, 0o700) }

    /// The commit fetched last, completely; nil when there is none.
    public func fetchedCommit() async -> String? {
        try? await repository.reference(Self.target)
    }

    /// Whether a commit is the one fetched last.
    public func holds(_ commit: String) async -> Bool {
        // Asked at every check, so the ref's own file first; git's housekeeping may have packed it.
        let file = open(path + "/" + Self.target, O_RDONLY | O_CLOEXEC)
        if file >= 0 {
            defer { close(file) }
            var bytes = [UInt8](repeating: 0, count: 80)
            let count = read(file, &bytes, bytes.count)
            if count > 0, bytes[..<count].elementsEqual("\(commit)\n".utf8) { return true }
        }
        return await fetchedCommit() == commit
    }

    /// Whether a commit is kept for a way back.
    public func keeps(_ commit: String) async -> Bool {
        (try? await repository.reference(Self.kept + commit)) == commit
    }

    private static let kept = "refs/agent/kept/"

    /// Keeps a commit that is there, and of those that were kept before only these and what checkouts borrow: what is left
    /// is collected in time.
    public func keep(_ commit: String, and others: Set<String>, _ git: GitProgram) async throws {
        let operation = "keep \(commit.prefix(12)) in \(path)"
        let borrowed = borrowed
        try await git.expect(
            ["update-ref", Self.kept + commit, commit], in: path, operation: operation, code: .publish)
        for commit in borrowed where await !keeps(commit) {
            _ = try await git.run(["update-ref", Self.kept + commit, commit], in: path, operation: operation)
        }
        let listed = try await git.expect(
            ["for-each-ref", "--format=%(refname)", Self.kept], in: path, operation: operation, code: .publish)
        for name in String(decoding: listed.output, as: UTF8.self).split(separator: "\n") {
            let id = String(name.dropFirst(Self.kept.count))
            guard id != commit, !others.contains(id), !borrowed.contains(id) else { continue }
            try await git.expect(
                ["update-ref", "-d", String(name)], in: path, operation: operation, code: .publish)
        }
    }

    /// What of the history was asked for last: the number of commits, 0 for all.
    ///
    /// Noted, since what is there does not say: a history may be shorter than what was asked for.
    public var depth: Int { link("\(path)/\(Self.depthNote)").flatMap { Int($0) } ?? 1 }

    /// A symbolic link whose target is the number.
    private static let depthNote = "agent-depth"

    private func note(depth: Int) throws {
        guard depth != self.depth else { return }
        let (note, fresh) = ("\(path)/\(Self.depthNote)", "\(path)/\(Self.depthNote).new")
        unlink(fresh)
        guard symlink("\(depth)", fresh) == 0, rename(fresh, note) == 0 else { throw fileFailure("write \(note)") }
    }

    /// Fetches one commit without any other ref.
    ///
    /// - Parameter depth: how many commits of its history come along, itself counted; 0 for all.
    /// - Throws: `GitError` of one of the codes of remotes; `missingRef` when the remote does not have it.
    public func fetch(_ tip: RemoteTip, from remote: Remote, depth: Int = 1, _ git: GitProgram) async throws {
        let operation = "fetch \(tip.commit.prefix(12)) from \(remote.displayURL)"
        try await StaleLocks(ofOwn: path).sweep()
        // Of fetches that were broken off: each leaves what it had got.
        PackFolder(repository: path).removeLeftovers()
        let git = Self.keepingPacks(git)
        let common = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
        func fetch(_ options: [String], _ refspecs: [String]) async throws -> GitProgram.Result {
            let result = try await git.ask(
                common + options + ["--", remote.url] + refspecs, of: remote, in: path, operation: operation)
            if result.exitCode != 0 {
                // Asked for otherwise it would refuse just the same.
                let error = result.remoteError(remote, operation)
                if error.code.isPermanent || error.code == .throttled || error.retryAfter != nil { throw error }
            }
            return result
        }
        let byName = "refs/agent/fetched"
        func adopt(_ name: String) async throws -> GitProgram.Result {
            try await git.run(["update-ref", Self.target, "\(name)^{commit}"], in: path, operation: operation)
        }
        // What is cut off already comes only when it is asked for.
        let isCut = access("\(path)/shallow", F_OK) == 0
        let history = depth > 0 ? ["--depth=\(depth)"] : (isCut ? ["--unshallow"] : []) + ["--update-shallow"]
        var result = try await fetch(history, ["+\(tip.commit):\(Self.target)"])
        if result.exitCode != 0, let reference = tip.reference {
            // A server that does not hand out commits by id does so by name; one without any program behind it (plain
            // files over http) cannot cut the history either.
            for history in history.isEmpty ? [[]] : [history, []] {
                let fetched = try await fetch(history, ["+\(reference):\(byName)"])
                if fetched.exitCode == 0 {
                    result = try await adopt(byName)
                    break
                }
            }
        } else if result.exitCode != 0 {
            // A commit id that the server does not hand out by itself is looked for in the history of all branches.
            guard RemoteFailure.mayBeRefusal(result.message) else { throw result.remoteError(remote, operation) }
            let all = try await fetch([], ["+refs/heads/*:refs/agent/heads/*", "+refs/tags/*:refs/agent/tags/*"])
            if all.exitCode == 0 {
                result = try await adopt(tip.commit)
                try await dropHelpers(git, operation)
                guard result.exitCode == 0 else {
                    throw GitError(
                        .missingRef, operation: operation,
                        explanation: "no branch or tag of the remote contains this commit; check \(remote.names.ref)")
                }
            }
        }
        guard await holds(tip.commit) else {
            throw GitError(
                .unreachable, operation: operation,
                explanation: result.exitCode == 0
                    ? "the ref moved meanwhile; the next check takes the newer commit" : result.message)
        }
        try note(depth: depth)
    }

    /// What comes stays a pack, with the deltas that it came with, and goes as one once nothing of it is needed.
    private static func keepingPacks(_ git: GitProgram) -> GitProgram { git.configuring("fetch.unpackLimit", "1") }

    /// Removes the refs by which a commit was looked for: they would keep the whole history.
    private func dropHelpers(_ git: GitProgram, _ operation: String) async throws {
        let listed = try await git.expect(
            ["for-each-ref", "--format=delete %(refname)", "refs/agent/heads", "refs/agent/tags"], in: path,
            operation: operation, code: .publish)
        let input = try keepInput(listed.output)
        defer { unlink(input) }
        try await git.expect(["update-ref", "--stdin"], in: path, operation: operation, code: .publish, input: input)
    }

    /// Fetches a commit that is only compared with, and keeps it as one that a way back leads to.
    /// - Returns: whether it is there now.
    public func fetchToCompare(_ commit: String, from remote: Remote, _ git: GitProgram) async -> Bool {
        let result = try? await Self.keepingPacks(git).ask(
            [
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--depth=1", "--",
                remote.url, "+\(commit):\(Self.kept)\(commit)",
            ], of: remote, in: path, operation: "fetch \(commit.prefix(12)) from \(remote.displayURL)")
        return result?.exitCode == 0
    }

    /// Whether what the repository holds can be read. It is only a copy: one that cannot is removed and fetched anew.
    ///
    /// - Parameter content: whether every file's content is read, too; otherwise only what hangs together.
    public func isSound(content: Bool, _ git: GitProgram) async -> Bool {
        // What is not there is not damaged.
        guard isFolder(path) else { return true }
        // Without a descriptor left nothing can be read, and that says nothing of the store.
        let probe = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard probe >= 0 else { return true }
        close(probe)
        do {
            guard try await repository.reference(Self.target) != nil else { return true }
        } catch {
            return false
        }
        // Broken off, by a stop or its deadline, the check has found nothing.
        let check = try? await git.run(
            ["fsck", "--no-dangling", "--no-progress"] + (content ? [] : ["--connectivity-only"]), in: path,
            operation: "check \(path)")
        return check.map { $0.exitCode == 0 } ?? true
    }

    /// Removes the repository and the staged checkout; the next check fetches what it needs.
    public func discard() throws {
        try discardStage()
        for store in submoduleStores { try removeTree(store.path) }
        try removeTree(path)
    }

    /// Removes the folder that holds the repository, with all that lies there.
    public func removeWithFolder() throws { try removeTree(String(path.dropLast("/repo.git".count))) }

    /// Removes what of the repositories inside its commits cannot be read; returns the paths.
    public func discardDamagedSubmodules(content: Bool, _ git: GitProgram) async throws -> [String] {
        var removed: [String] = []
        for store in submoduleStores where isFolder(store.path) {
            guard await !store.isSound(content: content, git) else { continue }
            try store.removeWithFolder()
            removed.append(store.path)
        }
        return removed
    }

    /// Checks a commit out to the staging folder, which is emptied first.
    ///
    /// - Parameter workspace: whose own settings say how git writes the files (`filter.*`, `core.autocrlf`, `core.eol`,
    ///   `info/attributes`).
    /// - Returns: why git could not write them so, and wrote them as they are in the commit; nil where it could.
    @discardableResult
    public func stage(
        _ commit: String, for workspace: Workspace? = nil, submodules: [Submodule] = [], _ git: GitProgram
    ) async throws -> String? {
        let git = git.withLargeFiles(of: self)
        try discardStage()
        var settings: CheckoutSettings?
        if let workspace { settings = await CheckoutSettings(of: workspace) }
        let refusal = try await addCheckout(commit, name: "stage", at: stage, by: settings, git)
        try await checkOut(submodules, name: "stage", below: stage, git)
        return refusal
    }

    /// Removes the staged checkout and what the repository keeps of it.
    ///
    /// Of that also what a git of an earlier version left that was killed while it made it.
    public func discardStage() throws {
        try removeTree(stage)
        for store in submoduleStores { try removeTree(store.stageAdministration) }
        for name in try entries(of: path + "/worktrees") where !Release.isName(name) {
            try removeTree(path + "/worktrees/" + name)
        }
    }

    /// Writes what a git is to read from standard input to a file of the agent's own; returns its path.
    func keepInput(_ bytes: [UInt8]) throws -> String {
        let file = path + "/input"
        unlink(file)
        try SmallFile.write(bytes, to: file, mode: 0o600)
        return file
    }

    /// Removes what no ref, release or kept commit needs any more, where that is more than a quarter of what they need.
    /// - Throws: `GitError`; nothing that is needed is lost then.
    public func tidy(_ git: GitProgram) async throws {
        try await keepBorrowed(git)
        try await Housekeeping(folder: path, git: git).run()
    }

    /// Removes what commits left that were fetched one after the other and never deployed.
    public func tidyUndeployed(_ git: GitProgram) async throws {
        let housekeeping = Housekeeping(folder: path, git: git)
        guard housekeeping.hasGrown() else { return }
        try await keepBorrowed(git)
        try await housekeeping.run()
    }

    /// Gives a ref to each commit that a checkout borrows and that has none: git knows nothing of the borrower.
    private func keepBorrowed(_ git: GitProgram) async throws {
        for commit in borrowed where await !keeps(commit) {
            try await git.expect(
                ["update-ref", Self.kept + commit, commit], in: path, operation: "keep \(commit.prefix(12)) in \(path)",
                code: .publish)
        }
    }
}

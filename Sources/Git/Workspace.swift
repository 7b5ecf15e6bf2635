import Glibc
import Shell

/// The directory with the app's checkout.
public struct Workspace: Sendable {
    /// Canonical path.
    public let path: String
    /// The agent's own folder when it lies in the workspace: it does not make an empty workspace a foreign one.
    private let ownFolder: String?

    /// - Parameter stateDirectory: the agent's folder, wherever it lies.
    public init(path: String, stateDirectory: String? = nil) {
        self.path = path
        let inside = stateDirectory.flatMap { $0.hasPrefix(path + "/") ? $0.dropFirst(path.count + 1) : nil }
        ownFolder = inside?.split(separator: "/").first.map(String.init)
    }

    public enum State: Sendable, Equatable {
        /// Does not exist, or is an empty folder: it may be filled.
        case empty
        /// A git checkout with this commit checked out; nil when it has none yet.
        case checkout(head: String?)
        /// Something else, which is never touched.
        case foreign(String)
    }

    public var repository: Repository { Repository(path: path) }

    /// What stands where a link is to be.
    public static let notALink =
        "is there and no symbolic link of the agent's; move it away, or set AGENT_PUBLISH to in-place"

    /// Whether it is a symbolic link to a release.
    public var isLink: Bool { Releases.target(of: path) != nil }

    /// Whether a symbolic link to a release may be made of it: nothing that is not the agent's own is replaced.
    public var mayBeLink: Bool { kind(of: path) == .missing || isLink }

    /// Looks at what is there; changes nothing.
    /// - Throws: `GitError` `corrupt` when it is a checkout that cannot be read.
    public func state() async throws -> State {
        switch kind(of: path) {
        case .missing: return .empty
        case .folder, .link:
            if let release = Releases.target(of: path) {
                return release.isThere ? .checkout(head: release.commit) : .empty
            }
            guard isFolder(path) else { return .foreign("is a symbolic link that leads nowhere or to a file") }
        default: return .foreign("is a file")
        }
        do {
            let checkout = try await repository.checkout()
            return checkout.hasWorkTree ? .checkout(head: checkout.head) : .foreign("is a bare git repository")
        } catch let error as GitError where error.code == .notACheckout {
            guard access(path, R_OK | X_OK) == 0 else { return .foreign("may not be read by this user") }
            // A `.git` alone is what a `git init` that was killed leaves behind.
            return try entries(of: path).allSatisfy { $0 == ".git" || $0 == ownFolder }
                ? .empty : .foreign("is not empty and no git checkout")
        }
    }

    /// What publishing did away with.
    public struct Discarded: Sendable {
        /// Tracked files that had been changed in the workspace, or untracked ones in the way of tracked ones.
        public var paths: [String] = []
        /// Lock files of a git that is no more.
        public var locks: [String] = []
        /// Where the index was put that git could not read.
        public var damagedIndex: String?

        public init() {}
    }

    /// Moves the workspace to a commit: tracked files are set to it, other untracked files stay.
    ///
    /// HEAD is detached, so no branch of the workspace's own moves. Safe to repeat after it was broken off anywhere.
    /// - Parameters:
    ///   - store: holds the commit.
    ///   - stagedOutput: whether what was written in the staged checkout comes along.
    ///   - origin: recorded as `origin` where the checkout is the agent's own.
    public func publish(
        _ commit: String, from store: CommitStore, stagedOutput: Bool, origin: String, submodules: [Submodule] = [],
        _ git: GitProgram
    ) async throws -> Discarded {
        try await publish(
            commit, from: store, stagedOutput: stagedOutput, origin: origin, submodules, isInside: false,
            git.withLargeFiles(of: store))
    }

    /// - Parameter isInside: whether it is a submodule's folder: then what lies there is the commit's to replace.
    private func publish(
        _ commit: String, from store: CommitStore, stagedOutput: Bool, origin: String, _ submodules: [Submodule],
        isInside: Bool, _ git: GitProgram
    ) async throws -> Discarded {
        let operation = "publish \(commit.prefix(12)) to \(path)"
        // The link that was in the checkout's place, where the agent was killed before it was removed.
        if !isInside, kind(of: path) == .folder, Releases.target(of: Releases.beside(path)) != nil {
            unlink(Releases.beside(path))
        }
        if Releases.target(of: path) != nil {
            return try await replaceLink(
                commit, from: store, stagedOutput: stagedOutput, origin: origin, submodules, git, operation)
        }
        var head: String?
        let folders: (own: String, common: String)
        var isNew = false
        switch try await state() {
        case .foreign where isInside && isFolder(path):
            isNew = true
            folders = (path + "/.git", path + "/.git")
            // One that leads nowhere.
            if kind(of: folders.own) != .folder { unlink(folders.own) }
            makeFolders(folders.own)
        case .foreign(let what):
            throw GitError(.notACheckout, operation: operation, explanation: "\(path) \(what)")
        case .empty:
            isNew = true
            folders = (path + "/.git", path + "/.git")
            if kind(of: folders.own) != .folder { unlink(folders.own) }
            makeFolders(folders.own)
        case .checkout(let current):
            head = current
            folders = try await repository.gitFolders()
        }
        let locks = try await StaleLocks(own: folders.own, common: folders.common, workTree: path).sweep()
        return try await WorkNote(in: folders.own).cover {
            let checkoutOrigin = CheckoutOrigin(repository: repository, git: git, operation: operation)
            if isNew {
                try await git.expect(["init", "--quiet", "--", path], in: "/", operation: operation, code: .publish)
                try await checkoutOrigin.add(origin)
            } else {
                try await checkoutOrigin.update(origin)
            }
            var discarded = try await move(
                to: commit, from: store, stagedOutput: stagedOutput, head: head, submodules, git, operation)
            discarded.locks = locks
            for submodule in submodules {
                // What a hook put in its staged folder's place is not looked into: a link may lead to others' files.
                let isStaged =
                    stagedOutput && resolveFolder(submodule.path, below: store.stage) != nil
                    && kind(of: submodule.store.stage) == .folder
                let inner = try await publish(submodule, stagedOutput: isStaged, git)
                discarded.paths += inner.paths.map { "\(submodule.path)/\($0)" }
                discarded.locks += inner.locks
            }
            return discarded
        }
    }

    private func publish(_ submodule: Submodule, stagedOutput: Bool, _ git: GitProgram) async throws -> Discarded {
        let folder = path + "/" + submodule.path
        let operation = "publish submodule \(submodule.path)"
        // The commit was checked out: only what somebody has put there since leads elsewhere.
        if kind(of: folder) == .missing { mkdir(folder, 0o777) }
        guard kind(of: folder) == .folder, resolveFolder(submodule.path, below: path) != nil else {
            throw GitError(.publish, operation: operation, explanation: "\(folder) is no folder of the workspace")
        }
        return try await Workspace(path: folder).publish(
            submodule.commit, from: submodule.store, stagedOutput: stagedOutput, origin: submodule.url, submodule.inner,
            isInside: true, git.withLargeFiles(of: submodule.store))
    }

    /// Puts a checkout in the place of a link to a release: made beside it, and put there at once.
    private func replaceLink(
        _ commit: String, from store: CommitStore, stagedOutput: Bool, origin: String, _ submodules: [Submodule],
        _ git: GitProgram, _ operation: String
    ) async throws -> Discarded {
        let fresh = Releases.beside(path)
        try removeTree(fresh)
        let discarded = try await Workspace(path: fresh).publish(
            commit, from: store, stagedOutput: stagedOutput, origin: origin, submodules: submodules, git)
        guard exchange(fresh, path) else { throw fileFailure(operation) }
        unlink(fresh)
        return discarded
    }

    private func move(
        to commit: String, from store: CommitStore, stagedOutput: Bool, head: String?, _ submodules: [Submodule],
        _ git: GitProgram, _ operation: String
    ) async throws -> Discarded {
        var discarded = Discarded()
        // Only objects move; `--update-shallow` lets a shallow commit in without cutting the history that is there. What
        // protocols the operator allows is meant for remotes.
        let common = try await repository.gitFolders().common
        // A history that is whole stays so; one that is cut gets as long as was asked for.
        let wasCut = access(common + "/shallow", F_OK) == 0
        let isCut = wasCut && store.depth != 1
        let history = !isCut ? [] : [store.depth == 0 ? "--unshallow" : "--depth=\(store.depth)"]
        try await git.expect(
            [
                "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", "--update-shallow",
                "--no-write-fetch-head", "--no-recurse-submodules",
            ] + history + ["--", store.path, commit],
            in: path, operation: operation, code: .publish)
        if !wasCut { try await joinHistory(common, git, operation) }
        let index = WorkspaceIndex(workspace: self, store: store, git: git, operation: operation)
        (discarded.paths, discarded.damagedIndex) = try await index.prepare(hasHead: head != nil)
        var replaced = try await untrackedInTheWay(of: commit, head: head, git, operation)
        let mover = stagedOutput ? try await prepareMove(of: commit, from: store, submodules, git, operation) : nil
        try await git.removePointers(of: commit, in: path, from: store)
        try await git.expect(
            ["checkout", "--quiet", "--force", "--detach", commit, "--"], in: path, operation: operation, code: .publish
        )
        if var mover {
            try mover.moveAll()
            replaced += mover.displaced
        }
        // The record says durably that the commit is deployed, so the files have to be durable first.
        try await writeToDisk(path)
        discarded.paths += replaced.map(\.text)
        return discarded
    }

    /// Joins a commit that came without its history to the one that is here, where that has its parents.
    private func joinHistory(_ common: String, _ git: GitProgram, _ operation: String) async throws {
        let file = common + "/shallow"
        guard let bytes = SmallFile.read(file) else { return }
        let text = String(decoding: bytes, as: UTF8.self)
        var cut: [Substring] = []
        for commit in text.split(separator: "\n") {
            // As the commit has them, wherever the history is cut.
            let content = try await git.expect(
                ["cat-file", "commit", String(commit)], in: path, operation: operation, code: .publish)
            let parents = String(decoding: content.output, as: UTF8.self).split(separator: "\n")
                .prefix { $0.hasPrefix("tree ") || $0.hasPrefix("parent ") }.filter { $0.hasPrefix("parent ") }
            var isJoined = true
            for parent in parents where isJoined {
                let found = try await git.run(
                    ["cat-file", "-e", String(parent.dropFirst("parent ".count))], in: path, operation: operation)
                isJoined = found.exitCode == 0
            }
            if !isJoined { cut.append(commit) }
        }
        guard cut.count < text.split(separator: "\n").count else { return }
        guard !cut.isEmpty else {
            unlink(file)
            return
        }
        let fresh = file + ".agent-new"
        try SmallFile.write(Array(cut.map { "\($0)\n" }.joined().utf8), to: fresh)
        guard rename(fresh, file) == 0 else { throw fileFailure("write \(file)") }
    }

    /// Untracked files where the commit brings tracked ones, or folders that lead to them.
    private func untrackedInTheWay(
        of commit: String, head: String?, _ git: GitProgram, _ operation: String
    ) async throws -> [FileName] {
        // Files that the commit brings and the index does not know: whatever stands there is untracked.
        let arguments =
            head == nil
            ? ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]
            : ["diff-index", "--cached", "-z", "--name-only", "--no-renames", "--diff-filter=D", commit, "--"]
        let arriving = try await git.expect(arguments, in: path, operation: operation, code: .publish)
        guard let folder = OpenFolder(path: path) else { throw fileFailure("open \(path)") }
        var found: Set<FileName> = []
        for entry in arriving.output.entriesEndingInNUL {
            let file = FileName(entry)
            if folder.kind(file) != .missing {
                found.insert(file)
                continue
            }
            // A file where a folder must be made is replaced as well.
            var above = file.parent
            while let parent = above {
                let kind = folder.kind(parent)
                if kind == .folder { break }
                if kind != .missing { found.insert(parent) }
                above = parent.parent
            }
        }
        found.formUnion(try await submodulesInTheWay(of: commit, head: head, git, operation))
        return found.sorted { $0.text < $1.text }
    }

    /// Submodules' folders where the commit has a file: with all that lies there untracked they make way for it.
    private func submodulesInTheWay(
        of commit: String, head: String?, _ git: GitProgram, _ operation: String
    ) async throws -> [FileName] {
        guard head != nil, kind(of: path + "/.gitmodules") != .missing else { return [] }
        let changed = try await git.expect(
            ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--diff-filter=T", commit, "--"], in: path,
            operation: operation, code: .publish)
        // `:MODE MODE ID ID T`, then the path; the second mode is the index's.
        let fields = Array(changed.output.entriesEndingInNUL)
        return stride(from: 0, to: fields.count - 1, by: 2).compactMap { index in
            fields[index].dropFirst(8).starts(with: "160000".utf8) ? FileName(fields[index + 1]) : nil
        }
    }

    /// Says what of the staged checkout is to be moved, and finds what would fail: what cannot be published whole must not
    /// be published by half, so this comes before HEAD moves.
    private func prepareMove(
        of commit: String, from store: CommitStore, _ submodules: [Submodule], _ git: GitProgram, _ operation: String
    ) async throws -> FileMover {
        let tree = CommitTree(
            try await git.expect(CommitTree.listing + [commit], in: store.path, operation: operation, code: .publish)
                .output)
        // Against the commit and by the store's own administration of the stage: whatever the hook did with git there
        // (added, committed, removed `.git`) does not matter.
        let changed = try await git.expect(
            [
                "--git-dir", store.stageAdministration, "--work-tree", store.stage, "diff", "--name-only", "-z",
                "--no-renames", "--no-ext-diff", "--ignore-submodules", commit, "--",
            ],
            in: store.stage, operation: operation, code: .publish)
        let mover = try FileMover(
            from: store.stage, to: path, of: tree,
            except: tree.files.subtracting(changed.output.entriesEndingInNUL.map { FileName($0) }),
            submodules: Set(submodules.map { FileName($0.path) }))
        try await expectRemoval(of: mover.foldersInTheWay(), git, operation)
        return mover
    }

    /// Expects that a checkout of a commit that has nothing at these folders' paths removes them: it does when all that
    /// they hold is tracked.
    private func expectRemoval(of folders: [FileName], _ git: GitProgram, _ operation: String) async throws {
        guard !folders.isEmpty else { return }
        let listing = try await git.expect(
            ["ls-files", "--others", "--directory", "-z"], in: path, operation: operation, code: .publish)
        // Folders that hold nothing tracked are listed by themselves, with a slash at the end.
        let untracked = listing.output.entriesEndingInNUL.map { entry in
            FileName(entry.last == UInt8(ascii: "/") ? entry.dropLast() : entry)
        }
        for folder in folders
        where untracked.contains(where: { $0 == folder || $0.isInside(folder) || folder.isInside($0) }) {
            throw GitError(
                .publish, operation: "publish \(folder.text)",
                explanation: "PRE_DEPLOY wrote a file where the workspace has a folder; remove the folder there")
        }
    }

    /// Removes what is no longer needed, also in the repositories inside.
    public func tidy(submodules: [Submodule] = [], _ git: GitProgram) async {
        for submodule in submodules {
            await Workspace(path: "\(path)/\(submodule.path)").tidy(submodules: submodule.inner, git)
        }
        guard let folders = try? await repository.gitFolders() else { return }
        let note = WorkNote(in: folders.own)
        // One that is there tells the next publishing of locks that are there.
        guard !note.isThere else { return }
        _ = try? await note.cover {
            let housekeeping = Housekeeping(folder: folders.common, git: git)
            // In a linked work tree of somebody's repository there is more than our own.
            guard housekeeping.isDue() else { return }
            guard folders.own == folders.common, await housekeeping.forgetEarlierCommits() else {
                return try await housekeeping.runWithCare()
            }
            await housekeeping.run()
        }
    }
}

/// The canonical path of `folder` below `root` when it is a folder there and no symbolic link leads out; nil otherwise.
public func resolveFolder(_ folder: String, below root: String) -> String? {
    guard let rootPath = realpath(root, nil) else { return nil }
    defer { free(rootPath) }
    guard let fullPath = realpath(root + "/" + folder, nil) else { return nil }
    defer { free(fullPath) }
    let (base, full) = (String(cString: rootPath), String(cString: fullPath))
    guard isFolder(full), full == base || full.hasPrefix(base == "/" ? "/" : base + "/") else { return nil }
    return full
}

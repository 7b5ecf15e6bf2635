import Glibc
import Shell

/// The directory with the app's checkout.
public struct Workspace: Sendable {
    /// Canonical path.
    public let path: String
    /// The agent's own folder when it lies in the workspace: it does not make an empty workspace a foreign one.
    private let ownFolder: String?
    private let links: Links

    /// What becomes of a symbolic link of somebody's that stands at the path.
    public enum Links: Sendable {
        /// The workspace is what it leads to.
        case followed
        case refused
        /// The agent puts its own into its place.
        case replaced
    }

    /// - Parameter stateDirectory: the agent's folder, wherever it lies.
    public init(path: String, stateDirectory: String? = nil, links: Links = .followed) {
        self.path = path
        self.links = links
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
        /// A git checkout whose files or index are those of another folder, which is never touched.
        case elsewhere(String)
    }

    public var repository: Repository { Repository(path: path) }

    /// What stands where a link is to be.
    public static let notALink =
        "is there and no symbolic link of the agent's; move it away, or set AGENT_PUBLISH to in-place"

    /// Whether it is a symbolic link to a release.
    public var isLink: Bool { Releases.target(of: path) != nil }

    /// Whether a symbolic link to a release may be made of it: nothing that is not the agent's own is replaced.
    public var mayBeLink: Bool {
        switch kind(of: path) {
        case .missing: true
        case .link: isLink || links == .replaced
        default: false
        }
    }

    /// Looks at what is there; changes nothing.
    /// - Throws: `GitError` `corrupt` when it is a checkout that cannot be read.
    public func state() async throws -> State {
        switch kind(of: path) {
        case .missing: return .empty
        case .folder, .link:
            if let release = Releases.target(of: path) {
                return release.isThere ? .checkout(head: release.commit) : .empty
            }
            if links != .followed, kind(of: path) == .link {
                return links == .replaced ? .empty : .foreign("is a symbolic link that the agent did not make")
            }
            guard isFolder(path) else { return .foreign("is a symbolic link that leads nowhere or to a file") }
        default: return .foreign("is a file")
        }
        do {
            let checkout = try await repository.checkout()
            // libgit2 takes it as empty; git does not take it, and is needed for whatever comes next.
            if WorkspaceRepair.isConfigurationDamaged(path + "/.git") {
                throw GitError(.corrupt, operation: "read \(path)", explanation: "its .git/config holds NUL")
            }
            switch checkout.workTree {
            case .here: return .checkout(head: checkout.head)
            case .none: return .foreign("is a bare git repository")
            case .elsewhere(let explanation): return .elsewhere(explanation)
            }
        } catch let error as GitError where error.code == .unsupported {
            return .foreign(String(error.explanation.trimmingPrefix("it ")))
        } catch let error as GitError where error.code == .notACheckout {
            // Without a HEAD.
            if WorkspaceRepair.isOwn(path + "/.git") {
                throw GitError(.corrupt, operation: "read \(path)", explanation: "it has no .git/HEAD")
            }
            guard access(path, R_OK | X_OK) == 0 else { return .foreign("may not be read by this user") }
            let inTheWay = try namesInTheWay().sorted()
            if inTheWay.isEmpty { return .empty }
            let more = inTheWay.count > 3 ? " and \(inTheWay.count - 3) more" : ""
            return .foreign(
                "is not empty and no git checkout: it has \(inTheWay.prefix(3).joined(separator: ", "))\(more)")
        }
    }

    /// What keeps a folder that is no checkout from being filled: all but a `.git` alone, which a `git init` that was killed
    /// leaves behind, the agent's own folder, and what mke2fs(8) makes in a new file system.
    private func namesInTheWay() throws -> [String] {
        try entries(of: path).filter { name in
            name != ".git" && name != ownFolder && !(name == "lost+found" && kind(of: "\(path)/\(name)") == .folder)
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
            commit, from: store, stagedOutput: stagedOutput, origin: origin, submodules, parent: nil,
            git.withLargeFiles(of: store))
    }

    /// - Parameter parent: what was replaced so far, where it is a submodule's folder: then what lies there is the commit's to
    ///   replace, and the parent puts it back.
    private func publish(
        _ commit: String, from store: CommitStore, stagedOutput: Bool, origin: String, _ submodules: [Submodule],
        parent: Parent?, _ git: GitProgram
    ) async throws -> Discarded {
        let isInside = parent != nil
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
            parent?.replaced?.keepGitFolder(of: path)
            // One that leads nowhere.
            if kind(of: folders.own) != .folder { unlink(folders.own) }
            makeFolders(folders.own)
        case .foreign(let what), .elsewhere(let what):
            throw GitError(.notACheckout, operation: operation, explanation: "\(path) \(what)")
        case .empty:
            isNew = true
            folders = (path + "/.git", path + "/.git")
            parent?.replaced?.keepGitFolder(of: path)
            if kind(of: folders.own) != .folder { unlink(folders.own) }
            makeFolders(folders.own)
        case .checkout(let current):
            head = current
            folders = try await repository.gitFolders()
        }
        let locks = try await StaleLocks(own: folders.own, common: folders.common, workTree: path).sweep()
        return try await WorkNote(in: folders.own).cover {
            // Where nothing is live there is nothing to go back to.
            let replaced = try isInside || head == nil ? parent?.replaced : ReplacedFiles(in: folders.own)
            let arriving = arriving(submodules, folders.own)
            do {
                let checkoutOrigin = CheckoutOrigin(repository: repository, git: git, operation: operation)
                // Set back, or put aside as damaged.
                let isUnconfigured = folders.own == folders.common && kind(of: folders.own + "/config") == .missing
                if isNew || isUnconfigured {
                    try await git.expect(
                        ["init", "--quiet", "--", path], in: "/", operation: operation, code: .publish)
                    try await checkoutOrigin.add(origin)
                } else {
                    try await checkoutOrigin.update(origin)
                }
                var discarded = try await move(
                    to: commit, from: store, stagedOutput: stagedOutput, head: head, replaced: replaced,
                    isArriving: parent?.isArriving ?? false, submodules, git, operation)
                discarded.locks = locks
                for submodule in submodules {
                    // What a hook put in its staged folder's place is not looked into: a link may lead to others' files.
                    let isStaged =
                        stagedOutput && resolveFolder(submodule.path, below: store.stage) != nil
                        && kind(of: submodule.store.stage) == .folder
                    let inner = try await publish(
                        submodule, stagedOutput: isStaged,
                        Parent(replaced: replaced, isArriving: arriving.contains(submodule.path)), git)
                    discarded.paths += inner.paths.map { "\(submodule.path)/\($0)" }
                    discarded.locks += inner.locks
                }
                try await checkoutOrigin.notePublished(commit, in: folders.own)
                if !isInside { replaced?.discard() }
                return discarded
            } catch let error as GitError where !isInside {
                guard let head, let replaced else { throw error }
                throw await putBack(replaced, to: head, after: error, git)
            }
        }
    }

    /// What the publishing of a submodule needs to know of its parent's.
    private struct Parent {
        /// What it has replaced so far; nil where nothing was live.
        let replaced: ReplacedFiles?
        /// Whether there was no submodule at that path: then what of an earlier one's files is missing was removed for a commit.
        let isArriving: Bool
    }

    /// Those of a commit's submodules that the checkout, as it is, has none of.
    private func arriving(_ submodules: [Submodule], _ gitFolder: String) -> Set<String> {
        guard !submodules.isEmpty, let folder = OpenFolder(path: path) else { return [] }
        let tracked = TrackedFiles(index: gitFolder + "/index", in: folder)
        return Set(submodules.map(\.path).filter { !tracked.isSubmodule(FileName($0)) })
    }

    private func publish(
        _ submodule: Submodule, stagedOutput: Bool, _ parent: Parent, _ git: GitProgram
    ) async throws -> Discarded {
        let folder = path + "/" + submodule.path
        let operation = "publish submodule \(submodule.path)"
        // The commit was checked out: only what somebody has put there since leads elsewhere.
        if kind(of: folder) == .missing { mkdir(folder, 0o777) }
        guard kind(of: folder) == .folder, resolveFolder(submodule.path, below: path) != nil else {
            throw GitError(.publish, operation: operation, explanation: "\(folder) is no folder of the workspace")
        }
        return try await Workspace(path: folder).publish(
            submodule.commit, from: submodule.store, stagedOutput: stagedOutput, origin: submodule.url, submodule.inner,
            parent: parent, git.withLargeFiles(of: submodule.store))
    }

    /// Puts a checkout in the place of a link to a release: made beside it, and put there at once.
    private func replaceLink(
        _ commit: String, from store: CommitStore, stagedOutput: Bool, origin: String, _ submodules: [Submodule],
        _ git: GitProgram, _ operation: String
    ) async throws -> Discarded {
        let fresh = Releases.beside(path)
        let discarded: Discarded
        do {
            try removeTree(fresh)
            discarded = try await Workspace(path: fresh).publish(
                commit, from: store, stagedOutput: stagedOutput, origin: origin, submodules: submodules, git)
            guard exchange(fresh, path) else { throw fileFailure(operation) }
        } catch var error as GitError {
            error.leavesWorkspace = true
            throw error
        }
        unlink(fresh)
        return discarded
    }

    private func move(
        to commit: String, from store: CommitStore, stagedOutput: Bool, head: String?, replaced: ReplacedFiles?,
        isArriving: Bool, _ submodules: [Submodule], _ git: GitProgram, _ operation: String
    ) async throws -> Discarded {
        var discarded = Discarded()
        // Only objects move; `--update-shallow` lets a shallow commit in without cutting the history that is there. What
        // protocols the operator allows is meant for remotes.
        let folders = try await repository.gitFolders()
        let common = folders.common
        // A history of somebody's that is whole stays so; one that is cut, or our own, gets as long as was asked for.
        let wasCut = access(common + "/shallow", F_OK) == 0
        let isOurs = wasCut || head == nil ? false : await UntouchedCheckout(self, git) != nil
        let history: [String] =
            switch store.depth {
            case 0: wasCut ? ["--unshallow"] : []
            case 1: []
            default: wasCut || isOurs ? ["--depth=\(store.depth)"] : []
            }
        try await git.expect(
            [
                "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", "--update-shallow",
                "--no-write-fetch-head", "--no-recurse-submodules",
            ] + history + ["--", store.path, commit],
            in: path, operation: operation, code: .publish)
        if !wasCut, !isOurs { try await joinHistory(common, git, operation) }
        let index = WorkspaceIndex(workspace: self, store: store, git: git, operation: operation)
        let changed: [FileName]
        (changed, discarded.damagedIndex) = try await index.prepare(hasHead: head != nil)
        // Once more, by what is there now, and with what was changed here.
        try await expectRoom(for: commit, in: repository, head: head, folders: folders, changed: changed)
        let published = PublishTime(in: folders.own)
        discarded.paths = changed.map(\.text).filter { name in
            isArriving && kind(of: "\(path)/\(name)") == .missing ? false : !published.isBefore("\(path)/\(name)")
        }
        var inTheWay = try await untrackedInTheWay(of: commit, head: head, git, operation)
        var mover = stagedOutput ? try await prepareMove(of: commit, from: store, submodules, git, operation) : nil
        if let replaced {
            mover?.replaced = replaced
            try await keep(
                changed + inTheWay, whereChanging: commit, from: head, folders.own, in: replaced)
        }
        try await git.removePointers(of: commit, in: path, from: store)
        try await git.expect(
            ["checkout", "--quiet", "--force", "--detach", commit, "--"], in: path, operation: operation, code: .publish
        )
        if mover != nil {
            try mover?.moveAll()
            inTheWay += mover?.displaced ?? []
        }
        published.note()
        // The record says durably that the commit is deployed, so the files have to be durable first.
        try await writeToDisk(path)
        discarded.paths += inTheWay.map(\.text)
        return discarded
    }

    /// Says what of the staged checkout is to be moved, and finds what would fail: what cannot be published whole must not
    /// be published by half, so this comes before HEAD moves.
    private func prepareMove(
        of commit: String, from store: CommitStore, _ submodules: [Submodule], _ git: GitProgram, _ operation: String
    ) async throws -> FileMover {
        let tree = CommitTree(
            try await git.expect(CommitTree.listing + [commit], in: store.path, operation: operation, code: .publish)
                .output)
        // By what the agent wrote: whatever the hook did with git there (added, committed, removed `.git`) does not matter.
        let mover = try FileMover(
            from: store.stage, to: path, of: tree,
            except: await WrittenFiles(store.stageAdministration).unchanged(in: store.stage),
            submodules: Set(submodules.map { FileName($0.path) }))
        try await expectRemoval(of: mover.foldersInTheWay(), git, operation)
        return mover
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

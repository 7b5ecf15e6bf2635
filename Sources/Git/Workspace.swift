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

    /// Looks at what is there; changes nothing.
    /// - Throws: `GitError` `corrupt` when it is a checkout that cannot be read.
    public func state() async throws -> State {
        switch kind(of: path) {
        case .missing: return .empty
        case .folder, .link:
            guard isFolder(path) else { return .foreign("is a symbolic link that leads nowhere or to a file") }
        default: return .foreign("is a file")
        }
        do {
            let checkout = try await repository.checkout()
            return checkout.hasWorkTree ? .checkout(head: checkout.head) : .foreign("is a bare git repository")
        } catch let error as GitError where error.code == .notACheckout {
            guard access(path, R_OK | X_OK) == 0 else { return .foreign("may not be read by this user") }
            // A `.git` alone is what a `git init` that was killed leaves behind.
            return entries(of: path).allSatisfy { $0 == ".git" || $0 == ownFolder }
                ? .empty : .foreign("is not empty and no git checkout")
        }
    }

    /// What publishing did away with.
    public struct Discarded: Sendable {
        /// Tracked files that had been changed in the workspace, or untracked ones in the way of tracked ones.
        public var paths: [String] = []
        /// Lock files of a git that is no more.
        public var locks: [String] = []
    }

    /// Moves the workspace to a commit: tracked files are set to it, other untracked files stay.
    ///
    /// HEAD is detached, so no branch of the workspace's own moves. Safe to repeat after it was broken off anywhere.
    /// - Parameters:
    ///   - store: holds the commit.
    ///   - stagedOutput: whether what was written in the staged checkout comes along.
    ///   - origin: recorded as `origin` when the checkout is made anew.
    public func publish(
        _ commit: String, from store: CommitStore, stagedOutput: Bool, origin: String, _ git: GitProgram
    ) async throws -> Discarded {
        let operation = "publish \(commit.prefix(12)) to \(path)"
        var discarded = Discarded()
        var head: String?
        switch try await state() {
        case .foreign(let what):
            throw GitError(.notACheckout, operation: operation, explanation: "\(path) \(what)")
        case .empty:
            try await git.expect(["init", "--quiet", "--", path], in: "/", operation: operation, code: .publish)
            _ = try await git.run(["remote", "add", "origin", origin], in: path, operation: operation)
        case .checkout(let current):
            head = current
            discarded.locks = try await sweepStaleLocks(in: try await repository.gitFolders())
        }
        // Only objects move; `--update-shallow` lets a shallow commit in without cutting the history that is there. What
        // protocols the operator allows is meant for remotes.
        try await git.expect(
            [
                "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", "--update-shallow",
                "--no-write-fetch-head", "--no-recurse-submodules", "--", store.path, commit,
            ],
            in: path, operation: operation, code: .publish)
        if head != nil {
            try await unmark(git, operation)
            discarded.paths = try await localChanges(git, operation)
        }
        discarded.paths += try await untrackedInTheWay(of: commit, head: head, git, operation)
        var mover: FileMover?
        if stagedOutput {
            let unchanged = try await unchangedFiles(of: commit, in: store, git, operation)
            mover = try FileMover(from: store.stage, to: path, except: unchanged)
            // Before HEAD moves: what cannot be published must not be published by half.
            try mover?.verify()
        }
        try await git.expect(
            ["checkout", "--quiet", "--force", "--detach", commit, "--"], in: path, operation: operation, code: .publish
        )
        try mover?.moveAll()
        discarded.paths += mover?.displaced ?? []
        return discarded
    }

    /// Tracked files that differ from HEAD; their changes will be lost. Files that were only added to the index are taken
    /// out of it, so that they stay as the untracked files that they are for the commit.
    private func localChanges(_ git: GitProgram, _ operation: String) async throws -> [String] {
        let look = [
            "status", "--porcelain", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty",
        ]
        var status = try await git.run(look, in: path, operation: operation)
        if status.exitCode != 0 {
            // An index that a power loss cut short holds nothing that HEAD and the files do not say.
            let folders = try await repository.gitFolders()
            for folder in folders { unlink(folder + "/index") }
            try await git.expect(["read-tree", "HEAD"], in: path, operation: operation, code: .corrupt)
            status = try await git.expect(look, in: path, operation: operation, code: .corrupt)
        }
        let lines = Self.paths(status.output)
        let added = lines.filter { $0.hasPrefix("A") }
        if !added.isEmpty {
            try await git.expect(["reset", "--quiet"], in: path, operation: operation, code: .publish)
        }
        return lines.filter { !$0.hasPrefix("A") }.map { String($0.dropFirst(3)) }
    }

    /// Takes the marks assume-unchanged and skip-worktree off tracked files that are there: they are set to the commit like
    /// all others. What a sparse checkout leaves out stays out.
    private func unmark(_ git: GitProgram, _ operation: String) async throws {
        let listing = try await git.run(["ls-files", "-v", "-z"], in: path, operation: operation)
        // "H path", or "h path" when assumed unchanged, "S path" when skipped, "s path" when both (git-ls-files(1)).
        let marked = Self.paths(listing.output).filter {
            !$0.hasPrefix("H ") && kind(of: path + "/" + $0.dropFirst(2)) != .missing
        }
        let marks: [(option: String, tags: [Character])] = [
            ("--no-assume-unchanged", ["h", "s"]), ("--no-skip-worktree", ["S", "s"]),
        ]
        for mark in marks {
            let files = marked.filter { mark.tags.contains($0.first ?? " ") }.map { String($0.dropFirst(2)) }
            for start in stride(from: 0, to: files.count, by: 500) {
                try await git.expect(
                    ["update-index", mark.option, "--"] + files[start..<min(start + 500, files.count)], in: path,
                    operation: operation, code: .publish)
            }
        }
    }

    /// Untracked files where the commit brings tracked ones, or folders that lead to them.
    private func untrackedInTheWay(
        of commit: String, head: String?, _ git: GitProgram, _ operation: String
    ) async throws -> [String] {
        // Files that the commit brings and the index does not know: whatever stands there is untracked.
        let arguments =
            head == nil
            ? ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]
            : ["diff-index", "--cached", "-z", "--name-only", "--no-renames", "--diff-filter=D", commit, "--"]
        let arriving = try await git.expect(arguments, in: path, operation: operation, code: .publish)
        var found: Set<String> = []
        for file in Self.paths(arriving.output) {
            if kind(of: path + "/" + file) != .missing {
                found.insert(file)
                continue
            }
            // A file where a folder must be made is replaced as well.
            var parent = file[...]
            while let slash = parent.lastIndex(of: "/") {
                parent = parent[..<slash]
                let kind = kind(of: path + "/" + parent)
                if kind == .folder { break }
                if kind != .missing { found.insert(String(parent)) }
            }
        }
        return found.sorted()
    }

    /// Tracked files of the staged checkout that are as the commit has them.
    private func unchangedFiles(
        of commit: String, in store: CommitStore, _ git: GitProgram, _ operation: String
    ) async throws -> Set<String> {
        let tracked = try await git.expect(
            ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit], in: store.path, operation: operation,
            code: .publish)
        // Against the commit and by the store's own administration of the stage: whatever the hook did with git there
        // (added, committed, removed `.git`) does not matter.
        let changed = try await git.expect(
            [
                "--git-dir", store.stageAdministration, "--work-tree", store.stage, "diff", "--name-only", "-z",
                "--no-renames", "--no-ext-diff", "--ignore-submodules", commit, "--",
            ],
            in: store.stage, operation: operation, code: .publish)
        return Set(Self.paths(tracked.output)).subtracting(Self.paths(changed.output))
    }

    /// Runs git's own housekeeping when it is due, by git's own measure.
    public func tidy(_ git: GitProgram) async {
        _ = try? await git.run(
            ["-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--quiet", "--auto"], in: path,
            operation: "tidy \(path)")
    }

    private static func paths(_ output: [UInt8]) -> [String] {
        output.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
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

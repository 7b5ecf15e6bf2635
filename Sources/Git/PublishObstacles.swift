import CLibgit2
import Glibc
import Shell

/// Finds what keeps a commit from taking the place of the one that a workspace holds, as a whole: by looking, before the first
/// file moves. What is found only in the middle is put back by `ReplacedFiles`.
struct PublishObstacles {
    /// The workspace.
    private let path: String
    private let folder: OpenFolder
    private let commit: String
    private let mounts: [FileName]
    private let tracked: TrackedFiles
    private let isSparse: Bool
    private var problems: [String] = []

    /// At most so many are told of.
    private static let shownProblems = 5

    init(_ path: String, index: String?, commit: String) throws {
        guard let folder = OpenFolder(path: path) else { throw fileFailure("open \(path)") }
        (self.path, self.folder, self.commit) = (path, folder, commit)
        mounts = MountPoints.below(path)
        tracked = TrackedFiles(index: index, in: folder)
        isSparse = index.map { access($0.dropLast("index".count) + "info/sparse-checkout", F_OK) == 0 } ?? false
    }

    /// Looks at what a commit changes.
    ///
    /// - Parameter isMountAsCommitted: whether a file that is mounted over one of the commit's holds the same; nil where the
    ///   commit has no file at that path.
    mutating func look(at difference: CommitDifference, isMountAsCommitted: (FileName) -> Bool?) throws {
        for change in difference.changes where change.isWritten {
            if let standing = folder.standing(at: change.path), standing.kind == .folder { try lookInside(change) }
        }
        expectWritable(difference.changes.map(\.path))
        for mount in mounts where folder.kind(mount) != .folder {
            // One that is changed was found among the paths.
            guard !difference.changes.contains(where: { $0.path == mount }) else { continue }
            if isMountAsCommitted(mount) == false { addMount(mount) }
        }
        if difference.isKnown { expectSpace(for: difference.changes) }
    }

    /// Looks at files that are replaced whatever the commit changes.
    mutating func look(at files: [FileName]) { expectWritable(files) }

    /// - Throws: `GitError` `obstructed` that names what was found.
    func expectNone() throws {
        guard !problems.isEmpty else { return }
        let more = problems.count - Self.shownProblems
        var error = GitError(
            .obstructed, operation: "publish \(commit.prefix(12)) to \(path)",
            explanation: problems.prefix(Self.shownProblems).joined(separator: "; ")
                + (more > 0 ? "; and \(more) more" : ""))
        error.leavesWorkspace = true
        throw error
    }

    // MARK: - Files of other people

    private mutating func lookInside(_ change: CommitDifference.Change) throws {
        // Where the index cannot be read yet, the look right before the first file moves finds it.
        guard tracked.isKnown else { return }
        let untracked: TrackedFiles.Untracked
        do {
            untracked = try tracked.untracked(below: change.path)
        } catch let error as GitError {
            problems.append(
                "\(change.path.text) is no folder in the commit, and what it holds here cannot be looked at (\(error.explanation)): give it to the agent's user"
            )
            return
        }
        guard untracked.count > 0 else { return }
        let names = untracked.first.map(\.text).joined(separator: ", ")
        let name = change.path.text
        problems.append(
            "\(name) is a \(change.isLink ? "symbolic link" : "file") in the commit, and here a folder with \(untracked.count) untracked \(untracked.count == 1 ? "file" : "files") (\(names)\(untracked.count > untracked.first.count ? ", …" : "")), which would be lost: move the folder out of the workspace (mv '\(path)/\(name)' '\(path)-\(change.path.text.split(separator: "/").last ?? "")'), and after the deployment its files to where they belong"
        )
    }

    // MARK: - Places that cannot be written

    /// Each file is replaced by another one, so what counts is the folder that it lies in.
    private mutating func expectWritable(_ paths: [FileName]) {
        var seen: Set<FileName> = []
        for path in paths {
            if mounts.contains(path), folder.kind(path) != .folder { addMount(path) }
            // One that is missing is made, and what is no folder makes way, in the folder above.
            var parent = path.parent ?? .root
            while parent != .root {
                if let standing = folder.standing(at: parent), standing.path == parent, standing.kind == .folder {
                    break
                }
                parent = parent.parent ?? .root
            }
            guard seen.insert(parent).inserted else { continue }
            let name = parent == .root ? FileName(".") : parent
            guard faccessat(folder.descriptor, name.bytes, W_OK | X_OK, AT_EACCESS) != 0 else { continue }
            let shown = parent == .root ? self.path : parent.text
            problems.append(
                "nothing can be written to the folder \(shown) (\(errorText(errno)), for \(path.text)): give it to the agent's user"
            )
        }
    }

    /// Looks at where git keeps index, HEAD and objects.
    mutating func look(atGitFolders folders: [String]) {
        for folder in folders where faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0 {
            problems.append(
                "nothing can be written to the folder \(folder) (\(errorText(errno))): give it to the agent's user")
        }
    }

    private mutating func addMount(_ path: FileName) {
        problems.append(
            "\(path.text) is a mount point and cannot be replaced: mount the file where the commit has none, or take it out of the repository"
        )
    }

    // MARK: - Space

    /// What is replaced stays until the end, so all that is new needs room beside it.
    private mutating func expectSpace(for changes: [CommitDifference.Change]) {
        // What a sparse checkout leaves out is not written.
        guard let free = freeSpace(path), !isSparse else { return }
        let block = 4096
        let needed = changes.reduce(0) { sum, change in
            guard change.isWritten, !mounts.contains(where: change.path.isInside) else { return sum }
            return sum + (change.size + block - 1) / block * block
        }
        guard needed > free else { return }
        problems.append(
            "the commit writes \(Self.size(needed)) and \(Self.size(free)) are free on the file system of \(path): make room"
        )
    }

    private static func size(_ bytes: Int) -> String {
        bytes < 10 << 20 ? "\((bytes + 1023) / 1024) KiB" : "\(bytes >> 20) MiB"
    }
}

extension Workspace {
    /// Expects that a commit can be published here as a whole. Looks, and changes nothing; no program is started.
    ///
    /// - Parameter store: holds the commit.
    /// - Throws: `GitError` `obstructed` that names what is in the way and what to do, `notACheckout`, or `corrupt`.
    public func expectRoom(for commit: String, from store: CommitStore, submodules: [Submodule] = []) async throws {
        // A link is replaced as a whole.
        guard Releases.target(of: path) == nil else { return try Self.expectPlace(for: path, commit) }
        try await expectRoom(for: commit, from: store, submodules, isInside: false)
    }

    private func expectRoom(
        for commit: String, from store: CommitStore, _ submodules: [Submodule], isInside: Bool
    ) async throws {
        var (head, folders): (String?, (own: String, common: String)?) = (nil, nil)
        switch try await state() {
        case .checkout(let current): (head, folders) = (current, try await repository.gitFolders())
        case .empty where isFolder(path), .foreign where isInside && isFolder(path): break
        case .empty: return try Self.expectPlace(for: path, commit)
        case .foreign(let what), .elsewhere(let what):
            throw GitError(
                .notACheckout, operation: "publish \(commit.prefix(12)) to \(path)", explanation: "\(path) \(what)")
        }
        try await expectRoom(for: commit, in: store.repository, head: head, folders: folders)
        for submodule in submodules {
            let inner = path + "/" + submodule.path
            guard kind(of: inner) == .folder, resolveFolder(submodule.path, below: path) != nil else { continue }
            try await Workspace(path: inner).expectRoom(
                for: submodule.commit, from: submodule.store, submodule.inner, isInside: true)
        }
    }

    /// Expects that something can be made at a path, with the folders that lead there.
    /// - Throws: `GitError` `obstructed`.
    public static func expectPlace(for path: String, _ commit: String) throws {
        var folder = path[...]
        repeat {
            folder = folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)]
        } while !folder.isEmpty && access(String(folder), F_OK) != 0
        let place = folder.isEmpty ? "/" : String(folder)
        guard faccessat(AT_FDCWD, place, W_OK | X_OK, AT_EACCESS) != 0 else { return }
        var error = GitError(
            .obstructed, operation: "publish \(commit.prefix(12)) to \(path)",
            explanation: "nothing can be made in the folder \(place) (\(errorText(errno))): give it to the agent's user"
        )
        error.leavesWorkspace = true
        throw error
    }

    /// - Parameters:
    ///   - repository: holds the commit.
    ///   - folders: those of the workspace's own repository; nil where there is none yet.
    ///   - changed: files that are replaced whatever the commit changes.
    func expectRoom(
        for commit: String, in repository: Repository, head: String?, folders: (own: String, common: String)?,
        changed: [FileName] = []
    ) async throws {
        let path = path
        try await repository.read { handle in
            if let folders, repository.path != path {
                // What is checked out lies in the workspace's objects.
                var database: OpaquePointer?
                guard git_repository_odb(&database, handle) == 0, let database else {
                    throw Repository.failure("read \(repository.path)")
                }
                defer { git_odb_free(database) }
                _ = git_odb_add_disk_alternate(database, folders.common + "/objects")
            }
            var obstacles = try PublishObstacles(path, index: folders.map { $0.own + "/index" }, commit: commit)
            try obstacles.look(
                at: CommitDifference(from: head, to: commit, repository, handle),
                isMountAsCommitted: { Self.isAsCommitted($0, at: path, commit, repository, handle) })
            obstacles.look(at: changed)
            if let folders { obstacles.look(atGitFolders: [folders.own, folders.common + "/objects"]) }
            try obstacles.expectNone()
        }
    }

    /// Whether a file of a workspace holds what the commit has at its path, as git compares; nil where it has none there.
    private static func isAsCommitted(
        _ file: FileName, at path: String, _ commit: String, _ repository: Repository, _ handle: OpaquePointer
    ) -> Bool? {
        try? repository.withTree(of: commit, handle) { tree -> Bool? in
            var entry: OpaquePointer?
            guard git_tree_entry_bypath(&entry, tree, file.bytes) == 0, let entry else { return nil }
            defer { git_tree_entry_free(entry) }
            guard git_tree_entry_type(entry) == GIT_OBJECT_BLOB else { return nil }
            // By the workspace's own attributes.
            var checkout: OpaquePointer?
            guard git_repository_open_ext(&checkout, path, GIT_REPOSITORY_OPEN_NO_SEARCH.rawValue, nil) == 0 else {
                return false
            }
            defer { git_repository_free(checkout) }
            var id = git_oid()
            guard git_repository_hashfile(&id, checkout, path + "/" + file.text, GIT_OBJECT_BLOB, nil) == 0 else {
                return false
            }
            return git_oid_equal(&id, git_tree_entry_id(entry)) != 0
        }
    }
}

import Glibc
import Shell

/// Moves files out of a staged checkout into a workspace, each by one rename: a reader sees the old file or the new one.
struct FileMover {
    /// What the workspace holds of the commit once it was checked out there.
    private let tree: CommitTree
    /// Paths that stay where they are: tracked files as the commit has them.
    private let unchanged: Set<FileName>
    /// Folders that have a mover of their own.
    private let submodules: Set<FileName>
    private let source: OpenFolder
    private let target: OpenFolder
    /// Keeps what is replaced; nil where there is nothing to go back to.
    var replaced: ReplacedFiles?
    /// What is mounted in the workspace.
    private let mounts: [FileName]
    /// Untracked paths, relative to both, that were in the way and were replaced.
    private(set) var displaced: [FileName] = []

    /// Each level of folders costs two descriptors.
    private static let deepest = 128
    /// What is being made in a folder, before it gets its name; one that a crash left is replaced.
    private static let temporary = FileName(".deploy-agent-new")

    init(
        from source: String, to target: String, of tree: CommitTree, except unchanged: Set<FileName>,
        submodules: Set<FileName>
    ) throws {
        mounts = MountPoints.below(target)
        guard let source = OpenFolder(path: source) else { throw fileFailure("open \(source)") }
        guard let target = OpenFolder(path: target) else { throw fileFailure("open \(target)") }
        (self.source, self.target, self.tree, self.unchanged) = (source, target, tree, unchanged)
        self.submodules = submodules
    }

    /// Finds what would fail, before the commit is checked out and anything is moved.
    ///
    /// - Returns: folders of the workspace where a file is to go and the commit has nothing. At those that the checkout
    ///   leaves where they are, because they hold something untracked, the move would fail.
    /// - Throws: `GitError` `publish` where the commit itself has a folder, or folders are nested too deep.
    func foldersInTheWay() throws -> [FileName] {
        var found: [FileName] = []
        try look(source, target, .root, depth: 1, &found)
        return found
    }

    private func look(
        _ from: OpenFolder, _ to: OpenFolder?, _ prefix: FileName, depth: Int, _ found: inout [FileName]
    ) throws {
        guard depth <= Self.deepest else {
            throw GitError(
                .publish, operation: "publish \(prefix.text.prefix(60))…",
                explanation: "PRE_DEPLOY left folders that are nested more than \(Self.deepest) deep")
        }
        for name in try from.names() where !isGitLink(name, in: from, prefix) {
            let path = prefix.child(name)
            if submodules.contains(path) { continue }
            if let to, !unchanged.contains(path) { try expectRoom(for: path, in: to, prefix) }
            if from.kind(name) == .folder {
                guard let inner = try from.readableFolder(name) else { continue }
                // A file of the commit makes way for the folder; there is nothing below it.
                let into = tree.files.contains(path) ? nil : to
                try look(
                    inner, into.flatMap { OpenFolder(name, in: $0, follows: isLinkFollowed(path)) }, path,
                    depth: depth + 1, &found)
            } else if tree.folders.contains(path) {
                throw GitError(
                    .publish, operation: "publish \(path.text)",
                    explanation: "PRE_DEPLOY wrote a file where the commit has a folder")
            } else if !tree.files.contains(path), let to, to.kind(name) == .folder {
                found.append(path)
            }
        }
    }

    /// Finds a place where nothing can be put: what only lacks a mode is given that for a moment, see `moveFolder`.
    private func expectRoom(for path: FileName, in folder: OpenFolder, _ parent: FileName) throws {
        func refuse(_ reason: String) -> GitError {
            GitError(.obstructed, operation: "publish \(path.text)", explanation: reason)
        }
        guard !mounts.contains(path) || folder.leadsToFolder(path.name, follows: false) else {
            throw refuse("PRE_DEPLOY wrote it, and in the workspace it is a mount point; mount the file elsewhere")
        }
        guard faccessat(folder.descriptor, ".", W_OK | X_OK, AT_EACCESS) != 0 else { return }
        let reason = errorText(errno)
        var info = stat()
        guard fstat(folder.descriptor, &info) != 0 || info.st_uid != geteuid() || reason == errorText(EROFS) else {
            return
        }
        throw refuse(
            "PRE_DEPLOY wrote it, and nothing can be written to \(parent == .root ? "the workspace" : "the folder \(parent.text)") (\(reason)); give that to the agent's user"
        )
    }

    /// Whether a symbolic link that stands at a folder's path leads to where the folder's content goes. One that the
    /// operator put there does, to keep data elsewhere; one of the commit is replaced like any of its files.
    private func isLinkFollowed(_ path: FileName) -> Bool {
        !tree.files.contains(path) && !tree.folders.contains(path)
    }

    /// The stage's own `.git`, and the files of that name with which work trees of submodules point to it.
    private func isGitLink(_ name: FileName, in folder: OpenFolder, _ prefix: FileName) -> Bool {
        name == Self.git && (prefix == .root || folder.kind(name) == .file)
    }

    private static let git = FileName(".git")

    /// Moves everything, empty folders included.
    mutating func moveAll() throws {
        try moveEntries(source, target, .root)
    }

    private mutating func moveEntries(_ from: OpenFolder, _ to: OpenFolder, _ prefix: FileName) throws {
        for name in try from.names() where !isGitLink(name, in: from, prefix) {
            let path = prefix.child(name)
            if submodules.contains(path) { continue }
            switch from.kind(name) {
            case .missing: continue
            case .folder: try moveFolder(name, from, to, path)
            case let kind:
                if unchanged.contains(path) { continue }
                replaced?.keep(path, in: target, followsLinks: true)
                if renameat(from.descriptor, name.bytes, to.descriptor, name.bytes) == 0 { continue }
                guard errno == EXDEV else { throw fileFailure("publish \(path.text)") }
                try copy(name, kind, from, to, path)
            }
        }
    }

    private mutating func moveFolder(_ name: FileName, _ from: OpenFolder, _ to: OpenFolder, _ path: FileName) throws {
        guard let info = from.status(name) else { return }
        let mode = info.st_mode & 0o7777
        let isReadOnly = mode & 0o700 != 0o700
        // Nothing can be moved out of or into a read-only folder, except by root; the mode is put right at the end.
        if isReadOnly { fchmodat(from.descriptor, name.bytes, mode | 0o700, 0) }
        guard let inner = OpenFolder(name, in: from) else { throw fileFailure("open \(path.text)") }
        guard try holdsAnythingToMove(inner, path) else { return }
        if to.leadsToFolder(name, follows: isLinkFollowed(path)) {
            guard let into = OpenFolder(name, in: to, follows: true) else { throw fileFailure("open \(path.text)") }
            var info = stat()
            fstat(into.descriptor, &info)
            let before = info.st_mode & 0o7777
            if before & 0o700 != 0o700 { fchmod(into.descriptor, before | 0o700) }
            defer { if before & 0o700 != 0o700 { fchmod(into.descriptor, before) } }
            return try moveEntries(inner, into, path)
        }
        replaced?.keep(path, in: target, followsLinks: true)
        if to.kind(name) != .missing {
            guard unlinkat(to.descriptor, name.bytes, 0) == 0 else { throw fileFailure("replace \(path.text)") }
            if !tree.files.contains(path) { displaced.append(path) }
        }
        if try holdsOnlyNew(inner, path) {
            if renameat(from.descriptor, name.bytes, to.descriptor, name.bytes) == 0 {
                if isReadOnly { fchmodat(to.descriptor, name.bytes, mode, 0) }
                return
            }
            guard errno == EXDEV else { throw fileFailure("publish \(path.text)") }
        }
        let into = try makeFolder(name, like: info, in: to, path)
        defer { if isReadOnly { fchmod(into.descriptor, mode) } }
        try moveEntries(inner, into, path)
    }

    /// Makes a folder that has owner and mode from the first moment it can be seen: after a crash nobody would put them
    /// right, since the next move finds the folder there.
    private func makeFolder(
        _ name: FileName, like info: stat, in folder: OpenFolder, _ path: FileName
    ) throws -> OpenFolder {
        Self.removeTemporary(in: folder)
        guard mkdirat(folder.descriptor, Self.temporary.bytes, 0o700) == 0,
            let made = OpenFolder(Self.temporary, in: folder)
        else { throw fileFailure("create \(path.text)") }
        // The owner first: changing it clears the set-id bits of the mode.
        _ = fchown(made.descriptor, info.st_uid, info.st_gid)
        fchmod(made.descriptor, info.st_mode & 0o7777 | 0o700)
        guard renameat(folder.descriptor, Self.temporary.bytes, folder.descriptor, name.bytes) == 0 else {
            throw fileFailure("create \(path.text)")
        }
        return made
    }

    private static func removeTemporary(in folder: OpenFolder) {
        unlinkat(folder.descriptor, temporary.bytes, 0)
        unlinkat(folder.descriptor, temporary.bytes, AT_REMOVEDIR)
    }

    /// Whether a folder is empty (git keeps none of those, so a hook made it) or holds something to move.
    private func holdsAnythingToMove(_ folder: OpenFolder, _ prefix: FileName) throws -> Bool {
        let names = try folder.names()
        return try names.isEmpty
            || names.contains { name in
                if isGitLink(name, in: folder, prefix) { return false }
                let path = prefix.child(name)
                guard folder.kind(name) == .folder else { return !unchanged.contains(path) }
                return try folder.readableFolder(name).map { try holdsAnythingToMove($0, path) } ?? true
            }
    }

    /// Whether a folder holds nothing that must stay in the stage: then it may be moved as a whole.
    private func holdsOnlyNew(_ folder: OpenFolder, _ prefix: FileName) throws -> Bool {
        try folder.names().allSatisfy { name in
            if isGitLink(name, in: folder, prefix) { return false }
            let path = prefix.child(name)
            guard folder.kind(name) == .folder else { return !unchanged.contains(path) }
            return try folder.readableFolder(name).map { try holdsOnlyNew($0, path) } ?? false
        }
    }

    /// Copies across file systems beside the target, then renames: the target is never half written.
    private func copy(
        _ name: FileName, _ kind: FileKind, _ from: OpenFolder, _ to: OpenFolder, _ path: FileName
    ) throws {
        let temporary = Self.temporary
        Self.removeTemporary(in: to)
        switch kind {
        case .link:
            var buffer = [CChar](repeating: 0, count: 4097)
            guard readlinkat(from.descriptor, name.bytes, &buffer, 4096) >= 0,
                symlinkat(buffer, to.descriptor, temporary.bytes) == 0
            else { throw fileFailure("copy \(path.text)") }
        case .file:
            try copyContent(name, from, temporary, to, path)
        default:
            // A socket or a pipe is of no use to another file system.
            return
        }
        guard renameat(to.descriptor, temporary.bytes, to.descriptor, name.bytes) == 0 else {
            let error = fileFailure("publish \(path.text)")
            unlinkat(to.descriptor, temporary.bytes, 0)
            throw error
        }
    }

    private func copyContent(
        _ name: FileName, _ from: OpenFolder, _ temporary: FileName, _ to: OpenFolder, _ path: FileName
    ) throws {
        let input = openat(from.descriptor, name.bytes, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard input >= 0 else { throw fileFailure("read \(path.text)") }
        defer { close(input) }
        var info = stat()
        fstat(input, &info)
        let output = openat(to.descriptor, temporary.bytes, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw fileFailure("create \(path.text)") }
        defer { close(output) }
        var isDone = false
        defer { if !isDone { unlinkat(to.descriptor, temporary.bytes, 0) } }
        let size = 1 << 20
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = read(input, buffer, size)
            if count == 0 { break }
            guard count > 0 else { throw fileFailure("read \(path.text)") }
            var offset = 0
            while offset < count {
                let written = write(output, buffer + offset, count - offset)
                guard written > 0 else { throw fileFailure("write \(path.text)") }
                offset += written
            }
        }
        // The owner first: changing it clears the set-id bits of the mode.
        _ = fchown(output, info.st_uid, info.st_gid)
        fchmod(output, info.st_mode & 0o7777)
        var times = [info.st_atim, info.st_mtim]
        futimens(output, &times)
        isDone = true
    }
}

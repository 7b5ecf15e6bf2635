import Glibc

/// Brings a workspace's index in order, so that the next checkout sets every tracked file, and no other.
struct WorkspaceIndex {
    let workspace: Workspace
    /// Keeps lists of names for git.
    let store: CommitStore
    let git: GitProgram
    let operation: String

    private var path: String { workspace.path }

    /// Takes marks and additions out of the index.
    ///
    /// - Returns: tracked files that differ from HEAD, whose changes the checkout will discard, and where an index was put
    ///   that git could not read.
    func prepare(hasHead: Bool) async throws -> (changed: [FileName], damagedIndex: String?) {
        guard hasHead else {
            // Without a commit nothing is tracked yet, whatever the index holds.
            try await git.expect(["read-tree", "--empty"], in: path, operation: operation, code: .publish)
            return ([], nil)
        }
        try await unmark()
        var (changes, damagedIndex) = try await readChanges()
        // What HEAD does not have (added, meant to be added, of a broken-off merge) must not be in the index: the checkout
        // would remove the file with the entry.
        guard changes.contains(where: { !$0.isOfWorkTreeOnly }) else {
            return (changes.map(\.name), damagedIndex)
        }
        try await git.expect(["reset", "--quiet"], in: path, operation: operation, code: .publish)
        // What was changed in the index only is lost as well.
        let staged = changes.filter(\.isStagedChange)
        changes = try await list(git.expect(Self.look, in: path, operation: operation, code: .publish))
        let names = Set(changes.map(\.name)).union(staged.map(\.name))
        return (names.sorted { $0.text < $1.text }, damagedIndex)
    }

    /// One line of `git status --porcelain` (git-status(1)).
    private struct Change {
        let index: UInt8
        let workTree: UInt8
        let name: FileName

        init?(_ line: ArraySlice<UInt8>) {
            guard line.count > 3 else { return nil }
            let start = line.startIndex
            (index, workTree, name) = (line[start], line[start + 1], FileName(line.dropFirst(3)))
        }

        /// Whether the index has the file as HEAD has it; ` A` is one that is only meant to be added.
        var isOfWorkTreeOnly: Bool { index == UInt8(ascii: " ") && workTree != UInt8(ascii: "A") }

        /// Whether HEAD has the file and the index has it otherwise or not at all.
        var isStagedChange: Bool { "MTD".utf8.contains(index) && " M".utf8.contains(workTree) }
    }

    private static let look = [
        "status", "--porcelain", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty",
    ]

    private func list(_ result: GitProgram.Result) -> [Change] {
        result.output.entriesEndingInNUL.compactMap { Change($0) }
    }

    private func readChanges() async throws -> (changes: [Change], damagedIndex: String?) {
        let status = try await git.run(Self.look, in: path, operation: operation)
        if status.exitCode == 0 { return (list(status), nil) }
        guard Self.isAboutDamagedIndex(status.message) else {
            throw status.error(.publish, operation)
        }
        // One that a power loss cut short holds nothing that HEAD and the files do not say. It is kept all the same: what
        // else damaged it is not known here.
        let index = try await workspace.repository.gitFolders().own + "/index"
        let aside = index + ".damaged"
        guard rename(index, aside) == 0 else { throw fileFailure("move \(index)") }
        try await git.expect(["read-tree", "HEAD"], in: path, operation: operation, code: .publish)
        return (list(try await git.expect(Self.look, in: path, operation: operation, code: .publish)), aside)
    }

    /// Whether git says that it cannot make sense of the index file (git's read-cache.c).
    private static func isAboutDamagedIndex(_ message: String) -> Bool {
        [
            "index file corrupt", "index file smaller than expected", "stage entries",
            "malformed name field in the index",
            "unknown index entry format", "broken index",
        ].contains { message.contains($0) }
    }

    /// Takes the marks assume-unchanged and skip-worktree off tracked files that are there: they are set to the commit like
    /// all others. What a sparse checkout leaves out stays out.
    private func unmark() async throws {
        let listing = try await git.run(["ls-files", "-v", "-z"], in: path, operation: operation)
        guard let folder = OpenFolder(path: path) else { throw fileFailure("open \(path)") }
        // "H path", or "h path" when assumed unchanged, "S path" when skipped, "s path" when both (git-ls-files(1)).
        let marked = listing.output.entriesEndingInNUL.filter {
            $0.first != UInt8(ascii: "H") && folder.kind(FileName($0.dropFirst(2))) != .missing
        }
        for (option, tags) in [("--no-assume-unchanged", "hs"), ("--no-skip-worktree", "Ss")] {
            let names = marked.filter { entry in entry.first.map(tags.utf8.contains) ?? false }
            guard !names.isEmpty else { continue }
            let list = try store.keepInput(names.flatMap { $0.dropFirst(2) + [0] })
            defer { unlink(list) }
            try await git.expect(
                ["update-index", option, "-z", "--stdin"], in: path, operation: operation, code: .publish, input: list)
        }
    }
}

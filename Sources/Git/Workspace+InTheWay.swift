/// What stands in the workspace where a commit, or what PRE_DEPLOY made, is to come.
extension Workspace {
    /// Untracked files where the commit brings tracked ones, or folders that lead to them.
    func untrackedInTheWay(
        of commit: String, head: String?, _ git: GitProgram, _ operation: String
    ) async throws -> [FileName] {
        // Files that the commit brings and the index does not know: whatever stands there is untracked.
        let arguments =
            head == nil
            ? ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]
            : ["diff-index", "--cached", "-z", "--name-only", "--no-renames", "--diff-filter=D", commit, "--"]
        let arriving = try await git.expect(arguments, in: path, operation: operation, code: .publish)
        guard let folder = OpenFolder(path: path) else { throw fileFailure("open \(path)") }
        let tracked = TrackedFiles(index: try await repository.gitFolders().own + "/index", in: folder)
        var found: Set<FileName> = []
        for entry in arriving.output.entriesEndingInNUL {
            let file = FileName(entry)
            // Of a folder in the way all that it holds is tracked; a file where a folder must be made is replaced as well.
            guard let standing = folder.standing(at: file), standing.kind != .folder else { continue }
            if !tracked.contains(standing.path) { found.insert(standing.path) }
        }
        found.formUnion(try await submodulesInTheWay(of: commit, head: head, git, operation))
        return found.sorted { $0.text < $1.text }
    }

    /// Submodules with changes of their own where the commit has a file: they make way for it.
    func submodulesInTheWay(
        of commit: String, head: String?, _ git: GitProgram, _ operation: String
    ) async throws -> [FileName] {
        guard head != nil, kind(of: path + "/.gitmodules") != .missing else { return [] }
        let changed = try await git.expect(
            ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--diff-filter=T", commit, "--"], in: path,
            operation: operation, code: .publish)
        // `:MODE MODE ID ID T`, then the path; the second mode is the index's.
        let fields = Array(changed.output.entriesEndingInNUL)
        var found: [FileName] = []
        for index in stride(from: 0, to: fields.count - 1, by: 2)
        where fields[index].dropFirst(8).starts(with: "160000".utf8) {
            let name = FileName(fields[index + 1])
            guard kind(of: "\(path)/\(name.text)/.git") != .missing else { continue }
            let status = try await git.run(
                ["status", "--porcelain", "--untracked-files=no"], in: "\(path)/\(name.text)", operation: operation)
            if status.exitCode == 0, !status.output.isEmpty { found.append(name) }
        }
        return found
    }

    /// Expects that a checkout of a commit that has nothing at these folders' paths removes them: it does when all that
    /// they hold is tracked.
    func expectRemoval(of folders: [FileName], _ git: GitProgram, _ operation: String) async throws {
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
}

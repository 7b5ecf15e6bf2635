import Glibc

/// Going back to the commit that was live, where a publishing fails in the middle.
extension Workspace {
    /// Keeps what git is about to replace: what the commit changes, and what was changed here.
    func keep(
        _ changed: [FileName], whereChanging commit: String, from head: String?, _ gitFolder: String,
        in replaced: ReplacedFiles
    ) async throws {
        guard let root = OpenFolder(path: path), let git = OpenFolder(path: gitFolder) else {
            throw fileFailure("open \(path)")
        }
        for name in ["HEAD", "index", "agent-published"] { replaced.keep(FileName(name), in: git) }
        let differing = try await repository.changedFiles(from: head, to: commit).paths.map { FileName($0) }
        let tracked = TrackedFiles(index: gitFolder + "/index", in: root)
        for name in Set(differing + changed) {
            // git removes the folder of a submodule that makes way for a file, with all that it holds.
            if tracked.isSubmodule(name), try await isWritten(name, by: commit) { replaced.lose() }
            replaced.keep(name, in: root)
        }
    }

    /// Whether a commit has a file or link at a path.
    func isWritten(_ name: FileName, by commit: String) async throws -> Bool {
        try await repository.file(name.text, in: commit, limit: .max) != nil
    }

    /// Goes back to the commit that was live, after a publishing that failed in the middle.
    ///
    /// - Returns: the failure, with what became of the workspace.
    func putBack(
        _ replaced: ReplacedFiles, to head: String, after failure: GitError, _ git: GitProgram
    ) async -> GitError {
        defer { replaced.discard() }
        var failure = failure
        if !replaced.isEmpty {
            // git does not say so of each file that it could not write.
            if let free = freeSpace(path), free < 1 << 20 {
                failure = failure.adding("\(free >> 10) KiB are free on the file system of \(path)")
            }
            let unkept = replaced.unkept
            var isBack = replaced.restore()
            if isBack, !unkept.isEmpty {
                // Of tracked files that were not changed here git has the same; what else there was it cannot bring.
                let own = OpenFolder(path: path)
                let names = unkept.compactMap { own?.isSame(as: $0.root) == true ? $0.name.text : nil }
                isBack = names.count == unkept.count
                if isBack {
                    let result = try? await git.run(
                        ["--literal-pathspecs", "checkout", "--quiet", "--force", head, "--"] + names, in: path,
                        operation: failure.operation)
                    isBack = result?.exitCode == 0
                }
            }
            guard isBack else {
                return failure.adding(
                    "the workspace could not be put back to \(head.prefix(7)) as a whole; the next attempt sets it anew"
                )
            }
            failure = failure.adding("the workspace is back at \(head.prefix(7))")
        }
        failure.leavesWorkspace = true
        return failure
    }
}

import Glibc

/// Checkouts of a store's commits, each a repository of its own that borrows the store's objects (gitrepository-layout(5),
/// `objects/info/alternates`).
///
/// What a hook does with git there (`git config`, attributes, refs, commits, `git gc`) reaches neither the store nor another
/// checkout, counts for whatever git runs on that checkout later, and goes with it.
extension CommitStore {
    /// Checks a commit out to a folder that may be there and is empty then.
    ///
    /// - Parameters:
    ///   - name: what is kept of it beside the store is called so: for a submodule of a release as the release.
    ///   - settings: by which git writes its files, where it can.
    /// - Returns: why git cannot write the files by these settings, and they are left out; nil where it could.
    @discardableResult
    func addCheckout(
        _ commit: String, name: String, at target: String, by settings: CheckoutSettings? = nil, _ git: GitProgram
    ) async throws -> String? {
        let administration = "\(path)/worktrees/\(name)"
        let operation = "check out \(commit.prefix(12)) to \(target)"
        try removeTree(administration)
        try await StaleLocks(ofOwn: path).sweep()
        makeFolders(administration)
        try await git.expect(
            [
                "init", "--quiet", "--template=", "--object-format=sha1", "--separate-git-dir", administration, "--",
                target,
            ], in: "/", operation: operation, code: .publish)
        makeFolders(administration + "/objects/info")
        // Relative to the folder of its own objects.
        try SmallFile.write(Array("../../../objects\n".utf8), to: administration + "/objects/info/alternates")
        if let cut = Self.wholeFile(path + "/shallow") { try SmallFile.write(cut, to: administration + "/shallow") }
        let id = Array("\(commit)\n".utf8)
        // git's own name for what its housekeeping leaves alone, though it is none of its work trees.
        try SmallFile.write(id, to: administration + Self.borrowNote)
        try SmallFile.write(id, to: administration + "/HEAD")
        let reset = ["reset", "--quiet", "--hard", "--no-recurse-submodules"]
        var refusal: String?
        if let settings, let configuration = Self.wholeFile(administration + "/config") {
            try await settings.write(to: administration)
            let written = try await git.run(reset, in: target, operation: operation)
            if written.exitCode != 0 {
                guard written.exitCode != GitProgram.Result.killed else { throw written.error(.publish, operation) }
                refusal = written.message
                try CheckoutSettings.remove(from: administration, restoring: configuration)
                // git did not come to its end, and has checked files out by the settings.
                unlink(administration + "/index")
                for name in try entries(of: target) where name != ".git" { try removeTree("\(target)/\(name)") }
            }
        }
        if settings == nil || refusal != nil {
            try await git.expect(reset, in: target, operation: operation, code: .publish)
        }
        try await WrittenFiles(administration).note()
        return refusal
    }

    private static let borrowNote = "/locked"

    private static func wholeFile(_ path: String) -> [UInt8]? {
        var info = stat()
        return lstat(path, &info) == 0 ? SmallFile.read(path, limit: Int(info.st_size)) : nil
    }

    /// The commits that checkouts borrow: no ref of theirs is known here.
    var borrowed: Set<String> {
        let names = (try? entries(of: path + "/worktrees")) ?? []
        return Set(
            names.compactMap { name in
                SmallFile.read("\(path)/worktrees/\(name)\(Self.borrowNote)", limit: 40)
                    .map { String(decoding: $0, as: UTF8.self) }.flatMap { Release.isName($0) ? $0 : nil }
            })
    }

    /// Sets what git reads of the store beside objects and refs to what it is in a new one.
    ///
    /// Staged checkouts were work trees of the store once, and share it then: what their hooks have configured counted for
    /// the agent's own git, too.
    func resetConfiguration() throws {
        let file = path + "/config"
        if SmallFile.read(file) != Self.configuration {
            try SmallFile.write(Self.configuration, to: file + ".new")
            guard rename(file + ".new", file) == 0 else { throw fileFailure("write \(file)") }
        }
        for name in ["config.worktree", "info/attributes", "info/grafts"] { unlink("\(path)/\(name)") }
    }

    /// As git writes it.
    private static let configuration = Array(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n".utf8)
}

import CLibgit2
import Glibc

/// Git LFS (https://git-lfs.com): a file in the commit that stands for a large one, which is kept elsewhere.
struct LFSPointer: Sendable, Equatable {
    let path: String
    /// Hash of the file's content, as its name in the storage.
    let hash: String

    /// Nil where there are none.
    static func warning(of pointers: [LFSPointer], _ reason: String) -> String? {
        guard !pointers.isEmpty else { return nil }
        let shown = pointers.prefix(3).map(\.path).joined(separator: ", ") + (pointers.count > 3 ? ", …" : "")
        let count =
            pointers.count == 1
            ? "1 file is a Git LFS pointer and not the file itself"
            : "\(pointers.count) files are Git LFS pointers and not the files themselves"
        return "\(count) (\(shown)): \(reason)"
    }

    /// The first line of every pointer (version 1 of its specification).
    private static let mark = Array("version https://git-lfs.github.com/spec/v1\n".utf8)
    /// Larger files are none.
    static let limit = 1024

    /// Nil for the content of a file that is none.
    init?(path: String, content: [UInt8]) {
        guard content.starts(with: Self.mark) else { return nil }
        self.path = path
        let lines = String(decoding: content, as: UTF8.self).split(separator: "\n")
        hash = lines.first { $0.hasPrefix("oid sha256:") }.map { String($0.dropFirst("oid sha256:".count)) } ?? ""
    }

    /// Whether a checkout has a pointer at its path, and not the file itself.
    func lies(in checkout: String) -> Bool {
        let file = "\(checkout)/\(path)"
        var info = stat()
        guard lstat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_size <= Self.limit,
            let content = SmallFile.read(file, limit: Self.limit)
        else { return false }
        return LFSPointer(path: path, content: content) != nil
    }
}

extension Repository {
    /// Whether a commit's attributes say that some files are kept by Git LFS.
    func usesLFS(_ commit: String) async throws -> Bool {
        var uses = false
        for file in try await files(of: commit, limit: 1 << 20, where: { strcmp($0, ".gitattributes") == 0 }) {
            uses = uses || String(decoding: file.content, as: UTF8.self).contains("filter=lfs")
        }
        return uses
    }

    /// The pointers in a commit.
    func lfsPointers(in commit: String) async throws -> [LFSPointer] {
        try await files(of: commit, limit: LFSPointer.limit) { _ in true }
            .compactMap { LFSPointer(path: $0.path, content: $0.content) }
    }

    /// Small files of a commit, in one pass over its trees. Of larger ones the size alone is read.
    ///
    /// - Parameter isWanted: is asked of the name in its folder, before anything is made of it: there may be very many.
    private func files(
        of commit: String, limit: Int, where isWanted: @escaping @Sendable (UnsafePointer<CChar>) -> Bool
    ) async throws -> [(path: String, content: [UInt8])] {
        try await read { handle in
            var database: OpaquePointer?
            guard git_repository_odb(&database, handle) == 0, let database else { throw Self.failure("read \(path)") }
            defer { git_odb_free(database) }
            var found: [(path: String, content: [UInt8])] = []
            func visit(_ tree: OpaquePointer, _ prefix: String) throws {
                for index in 0..<git_tree_entrycount(tree) {
                    guard let entry = git_tree_entry_byindex(tree, index), let name = git_tree_entry_name(entry) else {
                        continue
                    }
                    let mode = git_tree_entry_filemode(entry)
                    guard mode == GIT_FILEMODE_TREE || isWanted(name) else { continue }
                    let path = prefix + String(cString: name)
                    switch mode {
                    case GIT_FILEMODE_TREE:
                        var inner: OpaquePointer?
                        guard git_tree_lookup(&inner, handle, git_tree_entry_id(entry)) == 0, let inner else {
                            throw Self.failure("read \(path)")
                        }
                        defer { git_tree_free(inner) }
                        try visit(inner, path + "/")
                    case GIT_FILEMODE_BLOB, GIT_FILEMODE_BLOB_EXECUTABLE:
                        var (size, type) = (0, GIT_OBJECT_ANY)
                        guard git_odb_read_header(&size, &type, database, git_tree_entry_id(entry)) == 0 else {
                            throw Self.failure("read \(path)")
                        }
                        guard size <= limit else { continue }
                        found.append((path, try Self.content(of: entry, handle, path, limit: limit)))
                    default: continue
                    }
                }
            }
            try withTree(of: commit, handle) { try visit($0, "") }
            return found
        }
    }
}

extension CommitStore {
    /// Where this store's large files are.
    var largeFiles: String { path + "/lfs" }

    /// Removes large files that none of these commits has. What is checked out has them by itself.
    ///
    /// - Throws: `GitError` when a commit cannot be read: then nothing is removed.
    func tidyLargeFiles(of commits: Set<String>) async throws {
        guard isFolder(largeFiles) else { return }
        var needed: Set<String> = []
        for commit in commits { needed.formUnion(try await repository.lfsPointers(in: commit).map(\.hash)) }
        let objects = largeFiles + "/objects"
        func names(_ folder: String) -> [String] { (try? entries(of: folder)) ?? [] }
        // By the first four digits of their hash, in two levels.
        for first in names(objects) {
            for second in names("\(objects)/\(first)") {
                for hash in names("\(objects)/\(first)/\(second)") where !needed.contains(hash) {
                    unlink("\(objects)/\(first)/\(second)/\(hash)")
                }
            }
        }
        for folder in ["tmp", "incomplete", "logs"] { try? removeTree("\(largeFiles)/\(folder)") }
    }

    /// Those that are not in the store: git-lfs leaves out what `lfs.fetchexclude` names.
    func missingLargeFiles(of commit: String) async throws -> [LFSPointer] {
        try await repository.lfsPointers(in: commit).filter { pointer in
            let hash = pointer.hash
            return kind(of: "\(largeFiles)/objects/\(hash.prefix(2))/\(hash.dropFirst(2).prefix(2))/\(hash)") != .file
        }
    }

    /// Gets the large files of a commit, so that a checkout needs no network.
    func fetchLFS(_ commit: String, from remote: Remote, _ git: GitProgram) async throws {
        let operation = "fetch the large files of \(commit.prefix(12)) from \(remote.displayURL)"
        // Where there is no checkout, its `.lfsconfig` is read from HEAD's commit.
        try await git.expect(
            ["update-ref", "--no-deref", "HEAD", commit], in: path, operation: operation, code: .publish)
        var git = git.configuring("remote.agent.url", remote.url)
        // Wherever the user keeps them. Of a remote on this machine git-lfs would look there, too.
        if !remote.isOnThisMachine { git = git.configuring("lfs.storage", largeFiles) }
        let refusals = path + "/agent-refused"
        func forgetRefusals() throws {
            for name in try entries(of: path) where name.hasPrefix("agent-refused.") { unlink(path + "/" + name) }
        }
        try forgetRefusals()
        defer {
            try? forgetRefusals()
            // One for each failure, without end.
            try? removeTree(largeFiles + "/logs")
        }
        git = git.adding(RemoteAccess.refusals, refusals)
        let result = try await git.run(
            ["lfs", "fetch", "agent", commit], in: path, operation: operation, network: true)
        guard result.exitCode == 0 else { throw result.remoteError(remote, operation) }
    }
}

extension Workspace {
    /// What of a commit is not there in a checkout that somebody else keeps up to date: large files that are pointers.
    ///
    /// Nothing where the commit cannot be read whole: a clone that has only a part of it has its reasons.
    public func warnings(of commit: String) async -> [String] {
        guard (try? await repository.usesLFS(commit)) == true,
            let pointers = try? await repository.lfsPointers(in: commit),
            let left = try? await Repository.onThread({ [path] in pointers.filter { $0.lies(in: path) } })
        else { return [] }
        return LFSPointer.warning(of: left, "`git lfs pull` in \(path) writes them out").map { [$0] } ?? []
    }
}

extension GitProgram {
    /// The same with the filters by which files become large ones and pointers again.
    var withLFS: GitProgram {
        configuring("filter.lfs.process", "git-lfs filter-process").configuring("filter.lfs.required", "true")
            .configuring("filter.lfs.clean", "git-lfs clean -- %f")
            .configuring("filter.lfs.smudge", "git-lfs smudge -- %f")
            // Several workers write what needs a filter first; git-lfs reads `.lfsconfig`.
            .configuring("checkout.workers", "1")
    }

    /// Removes from a checkout what still is a pointer: then the next one writes it out. An entry that has not changed would
    /// not be looked at.
    func removePointers(of commit: String, in checkout: String, from store: CommitStore) async throws {
        guard kind(of: store.largeFiles) == .folder else { return }
        for pointer in try await store.repository.lfsPointers(in: commit) {
            if pointer.lies(in: checkout) { unlink("\(checkout)/\(pointer.path)") }
        }
    }

    /// The same for a checkout that is not the store's: large files come from there.
    func withLargeFiles(of store: CommitStore) -> GitProgram {
        kind(of: store.largeFiles) == .folder ? configuring("lfs.storage", store.largeFiles) : self
    }

    /// The same where large files are left as pointers, whatever the machine has configured.
    var withoutLFS: GitProgram {
        ["process", "clean", "smudge"].reduce(configuring("filter.lfs.required", "false")) {
            $0.configuring("filter.lfs.\($1)", "")
        }
    }
}

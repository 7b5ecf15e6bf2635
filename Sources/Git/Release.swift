import Glibc

/// A checkout of one commit, in a folder of its own, that a workspace's symbolic link may point to.
public struct Release: Sendable, Equatable {
    /// Its folder's name: the commit's full id, with a number where that one is in use already.
    public let name: String
    /// Path of the checkout.
    public let path: String
    /// What the store keeps of it: its index, its HEAD, and our marks.
    let administration: String
    private let store: CommitStore

    init(_ name: String, in store: CommitStore) {
        self.name = name
        self.store = store
        path = store.releases + "/" + name
        administration = store.path + "/worktrees/" + name
    }

    /// Full id.
    public var commit: String { String(name.prefix(40)) }

    /// Whether a folder's name is a release's.
    static func isName(_ name: some StringProtocol) -> Bool {
        let id = name.utf8.prefix(40)
        let rest = name.utf8.dropFirst(40)
        let isHex = id.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        return id.count == 40 && isHex
            && (rest.isEmpty
                || rest.first == UInt8(ascii: ".") && rest.count > 1
                    && rest.dropFirst().allSatisfy { (48...57).contains($0) })
    }

    // MARK: - Marks

    /// There once the checkout is complete, and on the disk.
    private var ready: String { administration + "/agent-ready" }
    /// There once the link has moved on; its time says when.
    private var replaced: String { administration + "/agent-replaced" }

    /// There where the hook before publishing left nothing in it.
    private var plain: String { administration + "/agent-as-committed" }

    /// Whether it is known to hold what the commit holds and nothing else, but for what came after it was published.
    public var isAsCommitted: Bool { access(plain, F_OK) == 0 }

    /// Says so of a release that is not complete yet; `complete` makes it durable.
    public func markAsCommitted() throws { try Self.touch(plain) }

    /// Whether a hook has left it as it was checked out, ignored files included.
    public func hasOnlyCommitted(_ git: GitProgram) async throws -> Bool {
        for checkout in submodules + [Checkout(path: path, administration: administration)] {
            guard try await WrittenFiles(checkout.administration).isAll(in: checkout.path, git) else { return false }
        }
        return true
    }

    var isReady: Bool { access(ready, F_OK) == 0 && isFolder(path) }

    func markReady() throws { try Self.touch(ready) }

    /// Nothing where the store is another one than the release was made from: then it is no release any more.
    func markReplaced() throws {
        // Durable by itself: one without it is not kept for a way back.
        if isFolder(administration) { try Self.touch(replaced, isDurable: true) }
    }

    /// When it was completed, in seconds since 1970; 0 when it was not.
    var readyAt: Double { Self.time(of: ready) ?? 0 }

    /// When the link moved on from it, in seconds since 1970; nil when that was not noted.
    var replacedAt: Double? { Self.time(of: replaced) }

    private static func time(of path: String) -> Double? {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        return info.modified.total
    }

    private static func touch(_ path: String, isDurable: Bool = false) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw fileFailure("write \(path)") }
        defer { close(file) }
        guard futimens(file, nil) == 0, !isDurable || fsync(file) == 0 else { throw fileFailure("write \(path)") }
    }

    // MARK: - Content

    /// Takes what lies in the checkout as what the release is, and says durably that it is complete.
    ///
    /// Whatever a hook did with git there (added, committed, removed `.git`): HEAD is the commit, and the index knows the
    /// tracked files as they are, so that a change of one can be told later.
    func complete(isAsMade: Bool, _ git: GitProgram) async throws {
        if !isAsMade { try await takeAsIs(git) }
        try await writeToDisk(path)
        try markReady()
        guard let folder = OpenFolder(path: administration), fsync(folder.descriptor) == 0 else {
            throw fileFailure("complete \(path)")
        }
    }

    private func takeAsIs(_ git: GitProgram) async throws {
        for inner in submodules {
            // Where a hook put something else, there is nothing of the submodule's to be completed.
            guard kind(of: inner.path) == .folder, inner.path.hasPrefix(path + "/"),
                resolveFolder(String(inner.path.dropFirst(path.count + 1)), below: path) != nil
            else {
                try removeTree(inner.administration)
                continue
            }
            try await Self.complete(inner, git)
        }
        try await Self.complete(Checkout(path: path, administration: administration, commit: commit), git)
    }

    /// One repository's part of a release.
    private struct Checkout {
        let path: String
        let administration: String
        /// What its HEAD is set to; nil leaves it.
        var commit: String?
    }

    /// Those of the repositories inside the commit's.
    private var submodules: [Checkout] {
        store.submoduleStores.compactMap { inner in
            let administration = "\(inner.path)/worktrees/\(name)"
            guard isFolder(administration) else { return nil }
            return Checkout(path: "\(path)/\(inner.place(in: store))", administration: administration)
        }
    }

    private static func complete(_ checkout: Checkout, _ git: GitProgram) async throws {
        let (path, administration) = (checkout.path, checkout.administration)
        let operation = "complete \(path)"
        let pointer = path + "/.git"
        let text = Array("gitdir: \(administration)\n".utf8)
        if kind(of: pointer) != .file || SmallFile.read(pointer) != text {
            try removeTree(pointer)
            try SmallFile.write(text, to: pointer)
        }
        let own = ["--git-dir", administration, "--work-tree", path]
        if let commit = checkout.commit {
            try await git.expect(
                own + ["update-ref", "--no-deref", "HEAD", commit], in: path, operation: operation, code: .publish)
        }
        try await git.expect(own + ["add", "-u", "--", "."], in: path, operation: operation, code: .publish)
    }

    /// Whether it is complete, and its tracked files are as they were then.
    func isSound(_ git: GitProgram) async -> Bool {
        guard isReady else { return false }
        for inner in submodules {
            guard await Self.isUnchanged(inner, git) else { return false }
        }
        return await Self.isUnchanged(Checkout(path: path, administration: administration), git)
    }

    private static func isUnchanged(_ checkout: Checkout, _ git: GitProgram) async -> Bool {
        let (path, administration) = (checkout.path, checkout.administration)
        if await WrittenFiles(administration).areUnchanged(in: path) { return true }
        if await IndexStamps.areCurrent(administration + "/index", in: path) { return true }
        func isUnchanged() async -> Bool {
            let changed = try? await git.run(
                ["--git-dir", administration, "--work-tree", path, "diff-files", "--quiet", "--ignore-submodules"],
                in: path, operation: "check \(path)")
            return changed?.exitCode == 0
        }
        if await isUnchanged() { return true }
        // Another owner, mode or time alone is no change: then the contents are compared.
        _ = try? await git.run(
            ["--git-dir", administration, "--work-tree", path, "update-index", "-q", "--refresh"], in: path,
            operation: "check \(path)")
        return await isUnchanged()
    }

    /// Removes it with what the store keeps of it.
    func remove() throws {
        // First the mark: what is removed by half is no release.
        unlink(ready)
        try removeTree(path)
        for inner in submodules { try removeTree(inner.administration) }
        try removeTree(administration)
    }

    public static func == (first: Release, second: Release) -> Bool {
        first.path == second.path && first.administration == second.administration
    }
}

import Glibc

/// Mends the git folder of a checkout that the agent has made, where a power loss has left files of it empty or full of NUL.
/// In one of somebody's own there is more than the agent knows of.
struct WorkspaceRepair {
    let workspace: Workspace
    let store: CommitStore
    let git: GitProgram
    /// The URL of its remote, for a configuration that is written anew.
    var origin = ""

    private var path: String { workspace.path }
    private var folder: String { path + "/.git" }
    private var operation: String { "mend \(path)" }

    // MARK: - What is damaged

    /// HEAD while its commit is not there: on no branch that anybody has.
    private static let noHead = "ref: refs/heads/agent-mends-this"

    static func isHeadDamaged(_ folder: String) -> Bool {
        let file = folder + "/HEAD"
        if kind(of: file) == .missing { return true }
        // A link in place of a file is an old form of a branch's name.
        guard let bytes = SmallFile.read(file), kind(of: file) == .file else { return false }
        let text = String(decoding: bytes, as: UTF8.self)
        return !text.hasPrefix("ref: refs/") && id(text.prefix { $0 != "\n" }) == nil || text.hasPrefix(noHead)
            || bytes.contains(0)
    }

    /// Whether git would not take it; one that is empty, or not there, it takes as one without a setting.
    static func isConfigurationDamaged(_ folder: String) -> Bool {
        SmallFile.read(folder + "/config")?.contains(0) ?? false
    }

    /// Whether an object in a file of its own is none: each begins as zlib's format does, with its method (RFC 1950).
    static func hasDamagedObject(_ folder: String) -> Bool {
        let objects = folder + "/objects"
        return ((try? entries(of: objects)) ?? []).filter { $0.utf8.count == 2 }.contains { name in
            ((try? entries(of: "\(objects)/\(name)")) ?? []).contains { object in
                // git's own temporary files have another name.
                object.utf8.count == 38
                    && SmallFile.read("\(objects)/\(name)/\(object)", limit: 1).map { $0.first.map { $0 & 15 } != 8 }
                        ?? false
            }
        }
    }

    private static func id(_ text: some StringProtocol) -> String? {
        text.utf8.count == 40 && Release.isName(text) ? String(text) : nil
    }

    // MARK: - Whose it is

    /// The commit that the agent published last, as the target of a symbolic link: that has no content to lose.
    private static let note = "/agent-published"

    /// Notes what was published, where the agent has made the checkout.
    static func note(_ commit: String, in folder: String) throws {
        let (note, fresh) = (folder + Self.note, folder + Self.note + ".new")
        guard link(note) != commit else { return }
        unlink(fresh)
        guard symlink(commit, fresh) == 0, rename(fresh, note) == 0 else { throw fileFailure("write \(note)") }
    }

    static func isOwn(_ folder: String) -> Bool { link(folder + note).flatMap(id) != nil }

    /// The commit that HEAD pointed to, where the agent has made the checkout; nil where it has not, or that is not known.
    private func published() async throws -> String? {
        if let noted = link(folder + Self.note).flatMap(Self.id) { return noted }
        // Of an earlier version there is no note; the log's last line has the old id and the new one.
        let made = try await git.run(
            ["config", "--file", folder + "/config", "--get", CheckoutOrigin.note], in: "/", operation: operation)
        guard made.exitCode == 0, let log = SmallFile.read(folder + "/logs/HEAD", limit: 1 << 20) else { return nil }
        let fields = String(decoding: log, as: UTF8.self).split(separator: "\n").last?.split(separator: " ") ?? []
        return fields.count > 2 ? Self.id(fields[1]) : nil
    }

    // MARK: - Mending

    /// - Returns: what was done, in words; nothing where it is somebody's own, or what it held is not known any more.
    func run() async throws -> [String] {
        guard kind(of: folder) == .folder, let commit = try await published() else { return [] }
        var done: [String] = []
        // First this one: without it git takes the folder for no repository.
        if Self.isHeadDamaged(folder) {
            try writeHead(commit)
            done.append("\(folder)/HEAD could not be read: it is \(commit.prefix(7)) again, as published last")
        }
        if try await mendConfiguration() {
            done.append(
                "\(folder)/config could not be read: it is written anew, and the old one is \(folder)/config.damaged")
        }
        if try await !isReadable() || Self.hasDamagedObject(folder) {
            guard try await mendObjects(commit) else { return done }
            done.append(
                "objects in \(folder) could not be read: they are fetched anew, and the old ones are \(folder)/objects.damaged"
            )
        }
        return done
    }

    private func mendConfiguration() async throws -> Bool {
        let file = folder + "/config"
        guard kind(of: file) == .file else { return false }
        let listed = try await git.run(["config", "--file", file, "--list"], in: "/", operation: operation)
        guard listed.exitCode != 0 || listed.output.isEmpty || Self.isConfigurationDamaged(folder) else { return false }
        guard rename(file, file + ".damaged") == 0 else { throw fileFailure("move \(file)") }
        try await git.expect(["init", "--quiet", "--", path], in: "/", operation: operation, code: .publish)
        try await CheckoutOrigin(repository: workspace.repository, git: git, operation: operation).add(origin)
        return true
    }

    private func writeHead(_ text: String) throws {
        let file = folder + "/HEAD"
        try SmallFile.write(Array("\(text)\n".utf8), to: file + ".agent-new")
        guard rename(file + ".agent-new", file) == 0 else { throw fileFailure("write \(file)") }
    }

    func isReadable() async throws -> Bool { try await unreadable() == nil }

    /// What git says where it cannot read the commit that is checked out; nil where it can.
    func unreadable() async throws -> String? {
        let read = try await git.run(["rev-parse", "--verify", "HEAD^{tree}"], in: path, operation: "read \(path)")
        guard read.exitCode != GitProgram.Result.killed else { throw read.error(.publish, "read \(path)") }
        return read.exitCode == 0 ? nil : read.message
    }

    /// Whether HEAD is, and ever was, where the agent has moved it.
    private func hasNoCommitOfSomebody(_ commit: String) async -> Bool {
        let head = String(decoding: SmallFile.read(folder + "/HEAD") ?? [], as: UTF8.self).prefix { $0 != "\n" }
        var isMovedByAgent = head == commit || head == Self.noHead
        // Where it was broken off before it noted what it had published.
        if !isMovedByAgent, let id = Self.id(head) { isMovedByAgent = await store.holds(id) }
        return isMovedByAgent && UntouchedCheckout.hasOnlyMoved(folder)
    }

    /// - Returns: false where somebody has refs or commits there, which nobody else may have, or the store lacks the commit.
    private func mendObjects(_ commit: String) async throws -> Bool {
        let refs = try await git.run(["for-each-ref", "--count=1"], in: path, operation: operation)
        var isInStore = await store.holds(commit)
        if !isInStore { isInStore = await store.keeps(commit) }
        guard refs.exitCode == 0, refs.output.isEmpty, isInStore, await hasNoCommitOfSomebody(commit) else {
            return false
        }
        let objects = folder + "/objects"
        let isResumed = SmallFile.read(folder + "/HEAD") == Array("\(Self.noHead)\n".utf8)
        // While its commit is missing, HEAD would keep git from fetching it.
        try writeHead(Self.noHead)
        // One that was set aside before stays only while this goes on where it was broken off.
        if !isResumed { try removeTree(objects + ".damaged") }
        if !isResumed || kind(of: objects + ".damaged") == .missing {
            guard rename(objects, objects + ".damaged") == 0 else { throw fileFailure("move \(objects)") }
        } else {
            // What was fetched until that was broken off.
            try removeTree(objects)
        }
        for name in ["info", "pack"] { makeFolders("\(objects)/\(name)") }
        unlink(folder + "/shallow")
        try await git.expect(
            [
                "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", "--update-shallow",
                "--no-write-fetch-head", "--no-recurse-submodules", "--", store.path, commit,
            ], in: path, operation: operation, code: .publish)
        try writeHead(commit)
        return true
    }
}

extension Workspace {
    /// Looks whether git can read what is checked out, before anything is made of it.
    /// - Throws: `GitError` `corrupt`.
    public func expectReadable(from store: CommitStore, _ git: GitProgram) async throws {
        guard !isLink, case .checkout(.some) = try await state() else { return }
        let repair = WorkspaceRepair(workspace: self, store: store, git: git)
        var problem = try await repair.unreadable()
        let folder = path + "/.git"
        if problem == nil, WorkspaceRepair.isOwn(folder), WorkspaceRepair.hasDamagedObject(folder) {
            problem = "an object is damaged"
        }
        if let problem { throw GitError(.corrupt, operation: "read \(path)", explanation: problem) }
    }

    /// Mends what cannot be read of a checkout that the agent has made.
    ///
    /// - Parameter origin: for a configuration that is written anew.
    /// - Returns: what was done, in words; nothing where it is somebody's own, or cannot be mended.
    /// - Throws: `GitError` `publish`.
    public func mend(from store: CommitStore, origin: String, _ git: GitProgram) async throws -> [String] {
        try await WorkspaceRepair(workspace: self, store: store, git: git, origin: origin).run()
    }

    /// What of its git folder is damaged, in words; nil where that is not to be seen.
    ///
    /// - Parameter error: what came of reading it.
    public func damage(after error: GitError) -> String? {
        var folder = path + "/.git"
        if kind(of: folder) == .file, let text = SmallFile.read(folder).map({ String(decoding: $0, as: UTF8.self) }),
            text.hasPrefix("gitdir: /")
        {
            folder = String(text.dropFirst("gitdir: ".count).prefix { $0 != "\n" })
        }
        guard kind(of: folder) == .folder else { return nil }
        if WorkspaceRepair.isHeadDamaged(folder) { return "its .git/HEAD names neither a branch nor a commit" }
        if WorkspaceRepair.isConfigurationDamaged(folder) { return "its .git/config holds NUL" }
        // libgit2's words.
        return error.explanation.hasPrefix("failed to parse config file") ? error.explanation : nil
    }
}

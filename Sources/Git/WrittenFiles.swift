import Glibc

/// What the agent itself wrote when it checked a commit out: git's index of that moment, under a second name, since a hook's git
/// writes the index anew.
///
/// A hook's changes are told by it and not by git, which calls a file unchanged where one of its filters (`eol`, `ident`,
/// `filter`) makes the commit's content of it.
struct WrittenFiles {
    /// What the repository keeps of the checkout.
    private let administration: String

    init(_ administration: String) { self.administration = administration }

    private var index: String { administration + "/agent-index" }

    /// Notes what was checked out. Whatever changes after it returns shows by its time of change.
    func note() async throws {
        unlink(index)
        let own = administration + "/index"
        // Where it cannot be linked there is no note, and each file counts as changed.
        guard link(own, index) == 0 else { return }
        var written = stat()
        guard lstat(own, &written) == 0 else { throw fileFailure("read \(own)") }
        // Within one tick of the file system's clock a file could change twice and bear the same time.
        let probe = administration + "/agent-clock"
        defer { unlink(probe) }
        for _ in 0..<100 {
            var now = stat()
            unlink(probe)
            try SmallFile.write([], to: probe)
            if lstat(probe, &now) == 0, written.modified < now.modified { return }
            try? await Task.sleep(for: .milliseconds(1))
        }
        // A clock that stands, or counts whole seconds.
        unlink(index)
    }

    /// Tracked files that are as the agent wrote them; empty where that was not noted.
    func unchanged(in checkout: String) async -> Set<FileName> { await IndexStamps.current(index, in: checkout) }

    /// Whether every tracked file is as the agent wrote it.
    func areUnchanged(in checkout: String) async -> Bool {
        await IndexStamps.areCurrent(index, in: checkout, isSettled: true)
    }

    /// Whether nothing has been changed, added or removed in the checkout, ignored files included.
    func isAll(in checkout: String, _ git: GitProgram) async throws -> Bool {
        guard await areUnchanged(in: checkout) else { return false }
        let others = try await git.adding("GIT_INDEX_FILE", index).run(
            ["--git-dir", administration, "--work-tree", checkout, "ls-files", "--others", "--directory", "-z"],
            in: checkout, operation: "compare \(checkout) with its commit")
        return others.exitCode == 0 && others.output.isEmpty
    }
}

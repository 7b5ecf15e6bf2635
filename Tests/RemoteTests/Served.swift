import Git
import Shell
import TestSupport
import Testing

/// A bare repository to be served, and a store of the agent's own that fetches from it.
struct Served {
    let folder: TemporaryFolder
    let store: CommitStore
    /// The folder to serve.
    var root: String { folder.path + "/served" }
    var name: String { "up.git" }

    init() async throws {
        folder = try TemporaryFolder()
        store = CommitStore(folder: folder.path + "/state")
        let made = try await shell(
            "mkdir state served && git init -q --bare -b main served/up.git && git init -q -b main work",
            in: folder.path)
        guard made.verdict.isSuccess else { throw PreparationFailed(made.output) }
        try await commit(["a": "1"])
    }

    /// Commits files and pushes them; returns the commit's id.
    @discardableResult
    func commit(_ files: [String: String] = [:]) async throws -> String {
        for (name, text) in files { try folder.write("work/" + name, text) }
        let work = folder.path + "/work"
        try await git("add -A", in: work)
        try await git("commit -q --allow-empty -m change", in: work)
        try await git("push -q ../served/up.git HEAD:main", in: work)
        return try await git("rev-parse HEAD", in: work)
    }

    /// A file whose content cannot be compressed, so that a pack has a middle.
    func noise(_ bytes: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<bytes / 16).map { _ in String(UInt64.random(in: .min ... .max, using: &generator), radix: 16) }
            .joined()
    }

    /// - Parameter environment: added to git's.
    func program(
        _ access: RemoteAccess = RemoteAccess(), environment: [String: String] = [:], timeout: Duration = .seconds(60)
    ) -> GitProgram {
        let variables = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder.path, "GIT_CONFIG_NOSYSTEM": "1",
        ].merging(environment) { $1 }
        return GitProgram(
            environment: variables.map { Array("\($0.key)=\($0.value)".utf8) }, timeout: timeout,
            killGrace: .milliseconds(500), marker: uniqueText(), stop: nil, access: access)
    }

    /// Asks a remote for its branch and fetches what it points to.
    @discardableResult
    func fetch(_ url: String, _ program: GitProgram, ref: String? = "main") async throws -> String {
        let remote = Remote(url: url, ref: ref)
        try await store.prepare(program)
        let tip = try await program.tip(of: remote, from: store.path)
        try await store.fetch(tip, from: remote, program)
        return tip.commit
    }

    /// Why a remote cannot be used; records an issue where it can.
    func failure(
        _ url: String, _ program: GitProgram, sourceLocation: SourceLocation = #_sourceLocation
    ) async -> GitError? {
        await #expect(throws: GitError.self, sourceLocation: sourceLocation) { try await fetch(url, program) }
    }

    /// Whether a text stands in what git keeps of the remote.
    func isKept(_ text: String) async throws -> Bool {
        try await shell("grep -rqF '\(text)' state", in: folder.path).verdict.isSuccess
    }
}

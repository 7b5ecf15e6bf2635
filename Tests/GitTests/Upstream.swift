import Git
import Shell
import TestSupport
import Testing

/// An upstream repository to fetch from, a store of the agent's own, and a workspace to publish to.
struct Upstream {
    let folder: TemporaryFolder
    let store: CommitStore
    let workspace: Workspace
    let program: GitProgram
    var path: String { folder.path + "/up" }

    /// - Parameters:
    ///   - storeFolder: where fetched commits go, when not into the folder of the rest.
    ///   - environment: added to git's.
    init(
        storeFolder: String? = nil, environment: [String: String] = [:], timeout: Duration = .seconds(60),
        stop: StopSignal? = nil, access: RemoteAccess = RemoteAccess()
    ) async throws {
        folder = try TemporaryFolder()
        store = CommitStore(folder: storeFolder ?? folder.path + "/state")
        workspace = Workspace(path: folder.path + "/ws")
        let variables = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder.path].merging(environment) { $1 }
        program = GitProgram(
            environment: variables.map { Array("\($0.key)=\($0.value)".utf8) }, timeout: timeout,
            killGrace: .milliseconds(500), marker: uniqueText(), stop: stop, access: access)
        try await shell("mkdir up state && cd up && git init -q -b main", in: folder.path)
    }

    /// Writes files, commits them, and returns the commit's id. A nil content removes the file.
    @discardableResult
    func commit(_ files: [String: String?] = [:]) async throws -> String {
        for (name, content) in files {
            if let content {
                try folder.write("up/" + name, content)
            } else {
                try await shell("rm -r '\(name)'", in: path)
            }
        }
        try await git("add -A", in: path)
        try await git("commit -q --allow-empty -m c", in: path)
        return try await git("rev-parse HEAD", in: path)
    }

    /// Commits what a script makes of the upstream's files, ignored ones included; returns the commit's id.
    @discardableResult
    func commit(script: String, message: String = "c") async throws -> String {
        try await run(script + "\ngit add -Af && git commit -q --allow-empty -m '\(message)'", in: "up")
        return try await git("rev-parse HEAD", in: path)
    }

    /// Runs a script in one of the folders and returns what it printed.
    @discardableResult
    func run(_ script: String, in name: String = "ws") async throws -> String {
        let place = name.hasPrefix("/") ? name : folder.path + "/" + name
        let result = try await shell("set -e; \(script)", in: place)
        guard result.verdict.isSuccess else { throw PreparationFailed("\(script): \(result.output)") }
        return result.output
    }

    /// The upstream as git reaches it by a protocol, and not by its files.
    func remote(_ ref: String? = "main") -> Remote { Remote(url: "file://" + path, ref: ref) }

    /// Fetches what a ref of the upstream points to.
    @discardableResult
    func fetch(_ ref: String? = "main") async throws -> RemoteTip {
        try await store.prepare(program)
        let tip = try await program.tip(of: remote(ref), from: store.path)
        try await store.fetch(tip, from: remote(ref), program)
        return tip
    }

    /// Fetches and publishes what the upstream's branch points to.
    @discardableResult
    func publish(afterStage hook: String? = nil) async throws -> Workspace.Discarded {
        let remote = Remote(url: path, ref: "main")
        try await store.prepare(program)
        let tip = try await program.tip(of: remote, from: store.path)
        if !(await store.holds(tip.commit)) { try await store.fetch(tip, from: remote, program) }
        if let hook {
            try await store.stage(tip.commit, program)
            try await shell(hook, in: store.stage)
        }
        return try await workspace.publish(
            tip.commit, from: store, stagedOutput: hook != nil, origin: path, program)
    }
}

/// The error that a call throws, as a `GitError`.
func gitError(_ body: () async throws -> Void) async -> GitError? {
    await #expect(throws: GitError.self) { try await body() }
}

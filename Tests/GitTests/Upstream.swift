import Git
import TestSupport

/// An upstream repository to fetch from, a store of the agent's own, and a workspace to publish to.
struct Upstream {
    let folder: TemporaryFolder
    let store: CommitStore
    let workspace: Workspace
    let program: GitProgram
    var path: String { folder.path + "/up" }

    init(timeout: Duration = .seconds(60)) async throws {
        folder = try TemporaryFolder()
        store = CommitStore(folder: folder.path + "/state")
        workspace = Workspace(path: folder.path + "/ws")
        program = GitProgram(
            environment: ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=\(folder.path)"].map { Array($0.utf8) },
            timeout: timeout, killGrace: .seconds(1), marker: uniqueText(), stop: nil)
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

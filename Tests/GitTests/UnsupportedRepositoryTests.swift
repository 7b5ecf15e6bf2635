import TestSupport
import Testing

@testable import Git

/// Repositories of a kind that libgit2 does not read.
@Suite(.timeLimit(.minutes(1)))
struct UnsupportedRepositoryTests {
    let upstream: Upstream

    init() async throws {
        upstream = try await Upstream()
        try await upstream.store.prepare(upstream.program)
    }

    @Test(
        "a remote with SHA-256 is told before anything is fetched, by what is followed or by its answer",
        arguments: [nil, "main", "v1", String(repeating: "a", count: 64), String(repeating: "a", count: 40)])
    func remote(ref: String?) async throws {
        try await upstream.run(
            "git init -q -b main --object-format=sha256 far; cd far; git commit -q --allow-empty -m x; git tag -a -m x v1",
            in: "up/..")
        let remote = Remote(url: upstream.folder.path + "/far", ref: ref)
        let error = await gitError {
            let tip = try await upstream.program.tip(of: remote, from: upstream.store.path)
            try await upstream.store.fetch(tip, from: remote, upstream.program)
        }
        #expect(error?.code == .unsupported && error?.code.isPermanent == true)
        #expect(error?.description.contains("SHA-256") == true, "\(error?.description ?? "")")
        #expect(await upstream.store.isSound(content: true, upstream.program))
    }

    @Test("an id of 64 digits is no branch of a remote with SHA-1")
    func id() async throws {
        try await upstream.commit()
        let remote = upstream.remote(String(repeating: "0", count: 64))
        let error = await gitError { _ = try await upstream.program.tip(of: remote, from: upstream.store.path) }
        #expect(error?.code == .unsupported && error?.description.contains("GITHUB_BRANCH") == true)
    }

    private static let formatted = "git init -q ws; git -C ws config core.repositoryFormatVersion"

    @Test(
        "a workspace of a kind that cannot be read is somebody's own, with the reason",
        arguments: [
            ("git init -q --object-format=sha256 ws", "uses SHA-256"),
            ("\(formatted) 1; git -C ws config extensions.refStorage reftable", "refs migrate"),
            ("\(formatted) 1; git -C ws config extensions.new true", "extensions.new"), ("\(formatted) 2", "version"),
        ])
    func workspace(script: String, reason: String) async throws {
        try await upstream.run(script, in: "up/..")
        guard case .foreign(let text) = try await upstream.workspace.state() else {
            Issue.record("it is taken for a checkout")
            return
        }
        #expect(text.contains(reason) && !text.hasPrefix("it "), "\(text)")
    }

    @Test("a submodule with SHA-256 is told as such")
    func submodule() async throws {
        try await upstream.run(
            "git init -q --object-format=sha256 far; git -C far commit -q --allow-empty -m x", in: "up/..")
        let commit = try await upstream.commit(
            script: """
                git config -f .gitmodules submodule.s.path s; git config -f .gitmodules submodule.s.url ../far
                git update-index --add --cacheinfo 160000,$(printf '%040d' 1),s
                git add .gitmodules; git commit -qm s; mkdir s
                """)
        try await upstream.fetch()
        let error = await gitError {
            _ = try await upstream.store.fetchContent(
                of: commit, from: Remote(url: upstream.path, ref: "main"),
                CommitContent.Options(depth: 1, hasSubmodules: true, hasLFS: false), upstream.program)
        }
        #expect(error?.code == .unsupported && error?.description.contains("submodule s") == true)
    }

    @Test("what the agent makes is of the kind that it reads, whatever the machine has for new repositories")
    func made() async throws {
        let upstream = try await Upstream(environment: [
            "GIT_DEFAULT_HASH": "sha256", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultObjectFormat",
            "GIT_CONFIG_VALUE_0": "sha256",
        ])
        let commit = try await upstream.commit(["a": "1"])
        try await upstream.publish(afterStage: "git rev-parse HEAD > id")
        #expect(upstream.folder.read("ws/id") == commit + "\n")
        #expect(try await upstream.workspace.state() == .checkout(head: commit))
    }
}

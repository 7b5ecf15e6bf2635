import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// Lock files of git in the workspace: whose they are decides what becomes of them.
@Suite(.timeLimit(.minutes(1)))
struct WorkspaceLockFileTests {
    /// An upstream with a published commit and a newer one.
    private func upstream(_ environment: [String: String] = [:], stop: StopSignal? = nil) async throws -> Upstream {
        let upstream = try await Upstream(environment: environment, stop: stop)
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.commit(["a": "2"])
        return upstream
    }

    @Test(
        "a young lock that nobody can be shown to hold is left where it is and named",
        arguments: ["index.lock", "refs/heads/x.lock"])
    func young(name: String) async throws {
        let upstream = try await upstream()
        try upstream.folder.write("ws/.git/" + name, "")
        let error = await gitError { try await upstream.publish() }
        #expect(error?.code == .publish && error?.description.contains(".git/" + name) == true)
        #expect(upstream.folder.exists("ws/.git/" + name) && upstream.folder.read("ws/a") == "1")
    }

    @Test("a lock that goes away by itself is waited for")
    func passing() async throws {
        let upstream = try await upstream()
        try upstream.folder.write("ws/.git/index.lock", "")
        async let published = upstream.publish()
        unlink(upstream.workspace.path + "/.git/index.lock")
        #expect(try await published.locks.isEmpty)
        #expect(upstream.folder.read("ws/a") == "2")
    }

    @Test("a git that waits for its editor keeps its lock, however old, and goes on undisturbed")
    func living() async throws {
        let upstream = try await upstream()
        let workspace = upstream.workspace.path
        try await upstream.run("mkfifo ../go; echo local > a")
        async let commit = shell(
            "GIT_EDITOR='touch ../opened; cat ../go >' git commit -q -a", in: workspace)
        #expect(await eventually { upstream.folder.exists("opened") })
        try await upstream.run("touch -d '1 hour ago' .git/index.lock")
        let error = await gitError { try await upstream.publish() }
        #expect(error?.code == .publish && error?.description.contains("index.lock") == true)
        try await upstream.run("echo message > ../go")
        #expect(try await commit.verdict.isSuccess)
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "2")
    }

    @Test("a lock of the agent's own git that was killed is removed at once")
    func ownKilled() async throws {
        let folder = try TemporaryFolder()
        // The real git, but for a checkout, which dies as a killed one does: its lock is left.
        let path = try folder.write(
            "bin/git",
            """
            #!/bin/sh
            case " $* " in *" checkout "*) mkdir '\(folder.path)/once' && touch .git/index.lock .git/HEAD.lock && kill -9 $$;; esac
            exec /usr/bin/git "$@"
            """)
        try #require(chmod(path, 0o755) == 0)
        try folder.write("once/x", "")
        let upstream = try await upstream(["PATH": "\(folder.path)/bin:/usr/bin:/bin"])
        try FileManager.default.removeItem(atPath: folder.path + "/once")
        #expect(await gitError { try await upstream.publish() }?.code == .publish)
        #expect(upstream.folder.exists("ws/.git/index.lock"))
        #expect(try await upstream.publish().locks.count == 2)
        #expect(upstream.folder.read("ws/a") == "2")
    }

    @Test("a lock that another git took while the agent's own ran is not the agent's")
    func takenMeanwhile() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(
            "bin/git",
            """
            #!/bin/sh
            case " $* " in *" checkout "*) test -e '\(folder.path)/armed' && touch .git/index.lock;; esac
            exec /usr/bin/git "$@"
            """)
        try #require(chmod(path, 0o755) == 0)
        let upstream = try await upstream(["PATH": "\(folder.path)/bin:/usr/bin:/bin"])
        try folder.write("armed", "")
        _ = await gitError { try await upstream.publish() }
        _ = await gitError { try await upstream.publish() }
        #expect(upstream.folder.exists("ws/.git/index.lock"))
    }

    @Test(
        "what a killed git init left does not keep from filling the workspace",
        arguments: ["config.lock", "HEAD.lock"])
    func killedInit(lock: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.run("mkdir -p ws/.git; touch ws/.git/deploy-agent-at-work ws/.git/\(lock)", in: "up/..")
        #expect(try await upstream.publish().locks.count == 1)
        #expect(upstream.folder.read("ws/a") == "1" && !upstream.folder.exists("ws/.git/deploy-agent-at-work"))
    }

    @Test("the index lock of another work tree of the same repository is not the workspace's")
    func otherWorkTree() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.run(
            "git clone -q up main; git -C main worktree add -q --detach ../ws; touch -d '1 hour ago' main/.git/index.lock",
            in: "up/..")
        try await upstream.commit(["a": "2"])
        #expect(try await upstream.publish().locks.isEmpty)
        #expect(upstream.folder.exists("main/.git/index.lock") && upstream.folder.read("ws/a") == "2")
    }
}

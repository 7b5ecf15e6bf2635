import TestSupport
import Testing

@testable import Git

/// A workspace whose git folder a power loss has damaged.
@Suite(.timeLimit(.minutes(2)), .serialized)
struct WorkspaceRepairTests {
    let upstream: Upstream
    private var workspace: Workspace { upstream.workspace }

    init() async throws { upstream = try await Upstream() }

    static let damages = [
        "head -c 41 /dev/zero > .git/HEAD", ": > .git/HEAD", "rm .git/HEAD", "echo garbage > .git/HEAD",
        "head -c 300 /dev/zero > .git/config", "echo '[' > .git/config",
        "head -c 41 /dev/zero > .git/HEAD; head -c 300 /dev/zero > .git/config",
        "f=.git/objects/$(git rev-parse HEAD | sed 's,^..,&/,'); chmod +w $f; : > $f",
        "f=.git/objects/$(git rev-parse HEAD:a | sed 's,^..,&/,'); chmod +w $f; head -c 20 /dev/zero > $f",
        "rm -rf .git/objects/??",
    ]

    @Test(
        "the agent's own is mended: the next commit is published, and what was tracked before goes", arguments: damages)
    func mended(damage: String) async throws {
        try await upstream.commit(["a": "1", "gone": "1", "same": "1"])
        try await upstream.publish()
        let first = try #require(await upstream.store.fetchedCommit())
        try await upstream.store.keep(first, and: [], upstream.program)
        try await upstream.run("echo mine > mine; \(damage)")
        let error = await gitError { try await workspace.expectReadable(from: upstream.store, upstream.program) }
        #expect(error?.code == .corrupt)
        let done = try await workspace.mend(from: upstream.store, origin: upstream.path, upstream.program)
        #expect(!done.isEmpty)
        try await workspace.expectReadable(from: upstream.store, upstream.program)
        #expect(try await workspace.state() == .checkout(head: first))
        #expect(try await git("status --porcelain", in: workspace.path) == "?? mine")
        let second = try await upstream.commit(["a": "2", "gone": nil])
        let discarded = try await upstream.publish()
        #expect(discarded.paths == [])
        #expect(try await upstream.run("ls; cat a") == "a\nmine\nsame\n2")
        #expect(try await git("rev-parse HEAD", in: workspace.path) == second)
        #expect(try await git("remote get-url origin", in: workspace.path) == upstream.path)
        #expect(try await git("fsck", in: workspace.path).contains("error") == false)
    }

    @Test("what had been set there is put aside with the damaged configuration")
    func aside() async throws {
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run("git config my.own thing; echo '[' >> .git/config")
        let done = try await workspace.mend(from: upstream.store, origin: upstream.path, upstream.program)
        #expect(done.count == 1 && done[0].contains("config.damaged"), "\(done)")
        #expect(try await upstream.run("cat .git/config.damaged").contains("own = thing"))
    }

    @Test("one that an earlier version has made is known by its origin, and its commit by git's log")
    func earlierVersion() async throws {
        let first = try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run("rm .git/agent-published; : > .git/HEAD")
        #expect(try await workspace.mend(from: upstream.store, origin: upstream.path, upstream.program).count == 1)
        #expect(try await workspace.state() == .checkout(head: first))
    }

    @Test("one of somebody's own is left as it is", arguments: damages)
    func notOwn(damage: String) async throws {
        try await upstream.commit(["a": "1", "gone": "1"])
        try await upstream.fetch()
        try await upstream.run("git clone -q up ws; cd ws; \(damage)", in: "up/..")
        let before = try await upstream.run("find .git -type f | sort | xargs sha256sum")
        #expect(try await workspace.mend(from: upstream.store, origin: upstream.path, upstream.program) == [])
        #expect(try await upstream.run("find .git -type f | sort | xargs sha256sum") == before)
        var seen: String?
        do { _ = try await workspace.state() } catch let error as GitError { seen = workspace.damage(after: error) }
        #expect((seen != nil) == ["head ", ":", "echo "].contains(where: damage.hasPrefix))
    }

    @Test("objects are not fetched anew where somebody has committed there")
    func somebodysCommit() async throws {
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        let damage = "f=.git/objects/$(git rev-parse HEAD | sed 's,^..,&/,'); chmod +w $f; : > $f"
        try await upstream.run(
            "git checkout -q -b mine; git commit -q --allow-empty -m mine; git checkout -q --detach HEAD~")
        try await upstream.run(damage)
        #expect(try await workspace.mend(from: upstream.store, origin: upstream.path, upstream.program) == [])
        #expect(try await upstream.run("ls .git").contains("damaged") == false)
    }

    @Test(
        "nor where somebody has committed on no branch, and may have gone back since",
        arguments: ["true", "git checkout -q --detach HEAD~"])
    func somebodysDetachedCommit(then: String) async throws {
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run("git commit -q --allow-empty -m mine; \(then)")
        try await upstream.run("f=.git/objects/$(git rev-parse HEAD:a | sed 's,^..,&/,'); chmod +w $f; : > $f")
        let before = try await upstream.run("cat .git/HEAD .git/logs/HEAD")
        #expect(try await workspace.mend(from: upstream.store, origin: upstream.path, upstream.program) == [])
        #expect(try await upstream.run("cat .git/HEAD .git/logs/HEAD") == before)
        #expect(try await upstream.run("ls .git").contains("damaged") == false)
    }

    @Test("mending that was broken off is gone on with")
    func brokenOff() async throws {
        let first = try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run(
            """
            mv .git/objects .git/objects.damaged; mkdir .git/objects
            echo ref: refs/heads/agent-mends-this > .git/HEAD
            """)
        #expect(try await !workspace.mend(from: upstream.store, origin: upstream.path, upstream.program).isEmpty)
        #expect(try await workspace.state() == .checkout(head: first))
        #expect(try await git("status --porcelain", in: workspace.path) == "")
    }
}

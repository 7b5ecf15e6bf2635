import Foundation
import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct CommitStoreTests {
    @Test("only the commit fetched last is held, also after the remote went back or was rewritten")
    func rewritten() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1"])
        try await upstream.commit(["a": "2"])
        #expect(await !upstream.store.holds(first))
        let second = try await upstream.fetch().commit
        #expect(await upstream.store.holds(second))
        try await git("reset -q --hard \(first)", in: upstream.path)
        let third = try await upstream.commit(["a": "3"])
        try await upstream.fetch()
        #expect(await upstream.store.fetchedCommit() == third)
        try await git("reset -q --hard \(first)", in: upstream.path)
        try await upstream.fetch()
        #expect(await upstream.store.fetchedCommit() == first)
    }

    @Test(
        "servers of every protocol version hand out branches, tags and commits inside the history",
        arguments: ["0", "2"],
        ["refs/heads/main", "refs/tags/plain", "refs/tags/annotated", nil])
    func protocols(version: String, name: String?) async throws {
        let upstream = try await Upstream(environment: [
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.version", "GIT_CONFIG_VALUE_0": version,
        ])
        let first = try await upstream.commit(["a": "1"])
        let second = try await upstream.commit(["a": "2"])
        try await git("tag plain", in: upstream.path)
        try await git("tag -a -m text annotated", in: upstream.path)
        if name?.contains("tags") == true { try await upstream.commit(["a": "3"]) }
        let tip = try await upstream.fetch(name ?? first)
        #expect(tip.commit == (name == nil ? first : second))
        #expect(await upstream.store.holds(tip.commit))
    }

    @Test("a commit that the remote does not have is missing")
    func missing() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        let error = await gitError { try await upstream.fetch(String(repeating: "1", count: 40)) }
        #expect(error?.code == .missingRef)
    }

    @Test("a remote that went away is unreachable, and what was held stays held")
    func unreachable() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        let tip = try await upstream.fetch()
        let newer = RemoteTip(commit: String(repeating: "1", count: 40), reference: "refs/heads/main")
        let error = await gitError {
            try await upstream.store.fetch(newer, from: Remote(url: "/gone", ref: "main"), upstream.program)
        }
        #expect(error?.code == .unreachable)
        #expect(await upstream.store.holds(tip.commit))
    }

    @Test(
        "a repository that a killed git left half made is completed",
        arguments: ["rm HEAD", "rm -r objects refs", "rm config"])
    func prepare(damage: String) async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(["a": "1"])
        try await upstream.store.prepare(upstream.program)
        try await upstream.run(damage, in: upstream.store.path)
        try await upstream.fetch()
        #expect(await upstream.store.holds(commit))
    }

    @Test(
        "a staged checkout has the commit's files and nothing of the one before",
        arguments: ["true", "chmod 500 kept; chmod 500 .", "rm .git"])
    func stage(damage: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["kept/a": "1", "gone": "1"])
        try await upstream.store.stage(upstream.fetch().commit, upstream.program)
        let stage = upstream.store.stage
        try await upstream.run(
            "echo x > new; mkdir -p deep/er; echo x > deep/er/x; echo y > kept/a; \(damage)", in: stage)
        let second = try await upstream.commit(["kept/a": "2", "gone": nil])
        try await upstream.store.stage(upstream.fetch().commit, upstream.program)
        #expect(try await upstream.run("find . -type f | grep -v /.git; cat kept/a", in: stage) == "./kept/a\n2")
        #expect(try await git("rev-parse HEAD", in: stage) == second)
        try upstream.store.discardStage()
        #expect(!FileManager.default.fileExists(atPath: stage))
    }

    @Test(
        "what a killed git left of its administration of the stage does not keep later commits from it",
        arguments: [
            "echo initializing > worktrees/stage/locked", "mkdir worktrees/stage1", "chmod 500 worktrees/stage",
        ])
    func stageAdministration(remains: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.fetch()
        try await upstream.run("mkdir -p worktrees/stage; \(remains)", in: upstream.store.path)
        try await upstream.publish(afterStage: "echo x > made")
        #expect(upstream.folder.read("ws/made") == "x\n")
        try upstream.store.discardStage()
        #expect(try await upstream.run("ls worktrees 2>/dev/null || true", in: upstream.store.path) == "")
    }

    @Test("removing a staged checkout does not follow symbolic links out of it")
    func discardLinks() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.store.stage(upstream.fetch().commit, upstream.program)
        try upstream.folder.write("outside/precious", "x")
        try await upstream.run("ln -s '\(upstream.folder.path)/outside' link", in: upstream.store.stage)
        try upstream.store.discardStage()
        #expect(upstream.folder.read("outside/precious") == "x")
    }

    @Test("housekeeping keeps the commit that is held")
    func tidy() async throws {
        let upstream = try await Upstream()
        for number in 1...3 {
            try await upstream.commit(script: "for i in $(seq 200); do echo \(number)$i > f$i; done")
            try await upstream.fetch()
        }
        try await upstream.store.tidy(upstream.program)
        let held = try #require(await upstream.store.fetchedCommit())
        try await upstream.store.stage(held, upstream.program)
        #expect(try await upstream.run("cat f200", in: upstream.store.stage) == "3200\n")
    }

    @Test(
        "a lock that a killed git left keeps from neither fetching nor staging",
        arguments: [
            "shallow.lock", "packed-refs.lock", "HEAD.lock", "refs/agent/target.lock", "config.lock", "index.lock",
        ])
    func staleLock(name: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.fetch()
        try await upstream.commit(["a": "2"])
        try await upstream.run("touch \(name)", in: upstream.store.path)
        try await upstream.store.stage(upstream.fetch().commit, upstream.program)
        #expect(try await upstream.run("cat a", in: upstream.store.stage) == "2")
    }

    @Test(
        "what was damaged is not sound, and is fetched anew after it was removed",
        arguments: [
            ("printf zzz > refs/agent/target", false), ("rm -r objects; mkdir objects", false),
            (
                "git repack -qad; f=$(ls objects/pack/*.pack); chmod +w $f; printf zzzzzzzz | dd of=$f bs=1 seek=20 conv=notrunc",
                true
            ),
        ])
    func damaged(damage: String, content: Bool) async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(["a": "1"])
        try await upstream.fetch()
        #expect(await upstream.store.isSound(content: true, upstream.program))
        try await upstream.run(damage, in: upstream.store.path)
        #expect(await !upstream.store.isSound(content: content, upstream.program))
        try upstream.store.discard()
        try await upstream.fetch()
        #expect(await upstream.store.holds(commit))
    }
}

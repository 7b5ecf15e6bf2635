import Foundation
import Glibc
import TestSupport
import Testing

/// A workspace that is a symbolic link to a release.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct ReleaseTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func settings(_ more: [String: String] = [:]) -> [String: String] {
        ["AGENT_PUBLISH": "symlink"].merging(more) { $1 }
    }

    /// Where the link points; nil when it is none.
    private var target: String? { try? FileManager.default.destinationOfSymbolicLink(atPath: box.workspace) }

    /// The names of the releases.
    private func releases() async throws -> [String] {
        try await box.sh("find state -path '*/releases/*' -prune -printf '%f\\n' | sort || true")
            .split(separator: "\n").map(String.init)
    }

    private func trees() async throws -> Int {
        Int(try await box.sh("ls -d state/workspaces/*/repo.git/worktrees/* 2>/dev/null | wc -l")) ?? -1
    }

    @Test("each commit is checked out to a release of its own; PRE_DEPLOY runs there before the link moves")
    func publish() async throws {
        let hooks = settings([
            "PRE_DEPLOY_COMMAND":
                "pwd > $OUT/pre; cat \"$DEPLOY_WORKSPACE/app.txt\" > $OUT/before 2>&1; echo made > made; echo changed >> app.txt",
            "POST_DEPLOY_COMMAND": "pwd -P > $OUT/post; cat \"$DEPLOY_WORKSPACE/made\" app.txt > $OUT/after",
        ])
        let first = try await box.once(hooks)
        #expect(first.outcome == "deployed", "\(first)")
        let one = try await box.head(of: box.work)
        #expect(target?.hasSuffix("/releases/\(one)") == true, "\(target ?? "")")
        #expect(box.lines("pre") == box.lines("post") && box.lines("pre").first?.hasSuffix("/releases/\(one)") == true)
        #expect(box.lines("after") == ["made", "v1", "changed"])
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(hooks).outcome == "deployed")
        #expect(box.lines("before") == ["v1", "changed"], "the link has moved before PRE_DEPLOY succeeded")
        #expect(box.lines("after") == ["made", "v2", "changed"])
        #expect(try await box.once(hooks).outcome == "unchanged")
        #expect(try await releases().count == 2)
        #expect(try await box.sh("git rev-parse HEAD", in: box.workspace) == box.head(of: box.work))
        let status = try await box.json("status", settings: settings())
        #expect(status["workspace"].string == box.workspace, "\(status)")
    }

    @Test(
        "without a hook before it, and without the gate, the link moves first", arguments: ["", "echo hi > $PWD/said"])
    func ungated(command: String) async throws {
        let hooks = settings(["PRE_DEPLOY_COMMAND": command, "PRE_DEPLOY_GATE": "false"])
        #expect(try await box.once(hooks).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        #expect(access(box.workspace + "/said", F_OK) == (command.isEmpty ? -1 : 0))
    }

    @Test(
        "a PRE_DEPLOY that does not succeed leaves the link, and nothing of its release",
        arguments: ["exit 1", "exit 75", "sleep 1000", "rm -rf .git; exit 1", "git commit -qam x; exit 1"])
    func failure(_ ending: String) async throws {
        #expect(try await box.once(settings()).outcome == "deployed")
        let before = (target, try await releases(), try await trees())
        try await box.commit(["app.txt": "v2\n"])
        let once = try await box.once(
            settings(["PRE_DEPLOY_COMMAND": "echo junk > app.txt; \(ending)", "PRE_DEPLOY_TIMEOUT": "1"]))
        #expect([1, 75].contains(once.code), "\(once)")
        let (link, names, count) = before
        #expect(target == link)
        #expect(try await releases() == names)
        #expect(try await trees() == count)
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        // The next attempt begins with a clean one.
        let again = try await box.once(
            settings(["PRE_DEPLOY_COMMAND": "test -z \"$(git status --porcelain)\""]), force: true)
        #expect(again.outcome == "deployed", "\(again)")
    }

    @Test("what a lenient PRE_DEPLOY that failed wrote is not published")
    func lenient() async throws {
        let once = try await box.once(
            settings([
                "PRE_DEPLOY_COMMAND": "echo half > new; echo half > app.txt; exit 1", "PRE_DEPLOY_MODE": "lenient",
            ]))
        #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 1, "\(once)")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n" && access(box.workspace + "/new", F_OK) != 0)
    }

    @Test(
        "a folder at the link's place is refused, and stays",
        arguments: ["mkdir ws", "mkdir ws; echo mine > ws/a", "git init -q ws"])
    func folderInTheWay(command: String) async throws {
        try await box.sh(command)
        let before = try await box.fingerprint(box.workspace)
        let once = try await box.agent("run-once", settings: settings())
        #expect(once.code == 78 && once.errors.contains("WORKSPACE_PATH"), "\(once)")
        #expect(try await box.fingerprint(box.workspace) == before && target == nil)
    }

    @Test("the last commit again: a release beside the one that is read, which stays as it is")
    func again() async throws {
        let hooks = settings(["PRE_DEPLOY_COMMAND": "echo x >> $OUT/count; wc -l < $OUT/count > made"])
        #expect(try await box.once(hooks).outcome == "deployed")
        let first = try #require(target)
        for round in 2...4 {
            let once = try await box.once(hooks, force: true)
            #expect(once.outcome == "deployed", "\(once)")
            #expect(box.text(box.workspace + "/made") == "\(round)\n")
        }
        #expect(target == first + ".4", "\(target ?? "")")
        for (name, count) in [("", 1), (".2", 2), (".3", 3)] {
            #expect(box.text("\(box.root)/\(first)\(name)/made") == "\(count)\n", "one that was completed is touched")
        }
    }

    @Test("so many replaced releases stay, or as long as they must; what was never completed goes")
    func retention() async throws {
        var ids: [String] = []
        for round in 1...5 {
            try await box.commit(["app.txt": "r\(round)\n"])
            ids.append(try await box.head(of: box.work))
            #expect(try await box.once(settings(["AGENT_KEEP_RELEASES": "2"])).outcome == "deployed")
        }
        #expect(try await releases() == ids.suffix(3).sorted())
        #expect(try await trees() == 3)
        try await box.commit(["app.txt": "r6\n"])
        _ = try await box.once(settings(["AGENT_KEEP_RELEASES": "0", "AGENT_RELEASE_GRACE": "1h"]))
        ids.append(try await box.head(of: box.work))
        #expect(try await releases() == ids.suffix(4).sorted(), "what was replaced within the hour stays")
        try await box.sh("touch -d '2 hours ago' state/workspaces/*/repo.git/worktrees/*/agent-replaced")
        try await box.commit(["app.txt": "r7\n"])
        _ = try await box.once(settings(["AGENT_KEEP_RELEASES": "0", "AGENT_RELEASE_GRACE": "1h"]))
        #expect(try await releases() == [ids[5], box.head(of: box.work)].sorted(), "its hour is over")
        try await box.commit(["app.txt": "r8\n"])
        _ = try await box.once(settings(["AGENT_KEEP_RELEASES": "0"]))
        #expect(try await releases() == [box.head(of: box.work)])
    }

    @Test(
        "one whose AGENT_RELEASE_GRACE is over goes without a deployment, with its objects",
        arguments: ["run-once", "run"])
    func graceIsOver(command: String) async throws {
        let settings = settings(["AGENT_KEEP_RELEASES": "1", "AGENT_RELEASE_GRACE": "1h"])
        var ids: [String] = []
        for round in 1...4 {
            try await box.sh("for i in $(seq 110); do head -c 3000 /dev/urandom > f$i; done", in: box.work)
            try await box.commit(["app.txt": "r\(round)\n"])
            ids.append(try await box.head(of: box.work))
            #expect(try await box.once(settings).outcome == "deployed")
        }
        let first = try await box.once(settings)
        #expect(first.outcome == "unchanged")
        #expect(try await releases() == ids.sorted())
        // What is kept stays however long ago it was replaced.
        try await box.sh("touch -d '2 hours ago' state/workspaces/*/repo.git/worktrees/*/agent-replaced")
        try await box.sh("touch -d '1 hour ago' state/workspaces/*/repo.git/worktrees/\(ids[2])/agent-replaced")
        let size = "du -sk state/workspaces/*/repo.git | cut -f 1"
        let before = try #require(Int(try await box.sh(size)))
        if command == "run" {
            let agent = try box.start("run", settings: settings.merging(["GITHUB_SYNC_INTERVAL": "50ms"]) { $1 })
            try await until("they are gone", details: { agent.errors }) { try await releases().count == 2 }
            try await until("their objects are gone", details: { agent.errors }) {
                try await Int(box.sh(size)).map { $0 <= before * 2 / 3 } ?? false
            }
            try await agent.send(SIGTERM)
            #expect(try await agent.ended().code == 0)
        } else {
            #expect(try await box.once(settings).outcome == "unchanged")
        }
        #expect(try await releases() == ids.suffix(2).sorted())
        #expect(try await trees() == 2)
        #expect(try await Int(box.sh(size)).map { $0 <= before * 2 / 3 } == true)
        #expect(box.text(box.workspace + "/app.txt") == "r4\n")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(try await releases() == ids.suffix(2).sorted())
    }

    @Test("an agent that watches removes one when its time is over, and not before")
    func graceEnds() async throws {
        let settings = settings([
            "AGENT_KEEP_RELEASES": "0", "AGENT_RELEASE_GRACE": "3s", "GITHUB_SYNC_INTERVAL": "50ms",
        ])
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 1, agent)
        let start = ContinuousClock.now
        try await box.commit(["app.txt": "v2\n"])
        try await until("v2", details: { agent.errors }) { box.text(box.workspace + "/app.txt") == "v2\n" }
        try await until("it is gone", details: { agent.errors }) {
            try await releases() == [box.head(of: box.work)]
        }
        #expect(ContinuousClock.now - start >= .seconds(3))
        #expect(try await box.history().count == 2)
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test(
        "a release that is missing is made anew at the next start, by whatever it went",
        arguments: ["release", "link", "store"])
    func missing(what: String) async throws {
        #expect(try await box.once(settings()).outcome == "deployed")
        switch what {
        case "release": try await box.sh("rm -rf \"$(readlink -f ws)\"")
        case "link": try await box.sh("rm ws")
        default: try await box.sh("rm -rf state/workspaces/*/repo.git")
        }
        let once = try await box.once(settings())
        #expect(once.outcome == (what == "store" ? "unchanged" : "deployed"), "\(once)")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings()).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v2\n")
    }

    @Test(
        "a release whose tracked files were altered is made anew: on the way back, and by a deployment that is asked for"
    )
    func altered() async throws {
        #expect(try await box.once(settings()).outcome == "deployed")
        let first = try #require(target)
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings()).outcome == "deployed")
        let second = try #require(target)
        for release in [first, second] { try await box.sh("echo altered > '\(release)/app.txt'") }
        #expect(try await box.agent("rollback", settings: settings()).code == 0)
        #expect(box.text(box.workspace + "/app.txt") == "v1\n" && target != first)
        #expect(try await box.once(settings(), force: true).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v2\n" && target != second)
    }

    @Test("a reader beside the agent, which publishes and removes old releases, never sees a mixture, never nothing")
    func reader() async throws {
        let digits = "123456789abcdefghijklmnopqrstuvwxyz".map(String.init)
        let text = "for i in $(seq 5000); do printf %s $digit; done"
        var script = "mkdir sub; printf 'made\\n' > .gitignore;"
        for digit in digits {
            script +=
                "digit=\(digit); \(text) > a; cp a c; cp a sub/b; git add -A; git commit -qm \(digit); git tag \(digit);"
        }
        try await box.sh(script + "git push -q --tags origin", in: box.work)
        func push(_ digit: String) async throws {
            try await box.sh("git update-ref refs/heads/main \(digit)", in: box.upstream)
        }
        try await push("1")
        let settings = settings([
            "GITHUB_SYNC_INTERVAL": "20ms", "AGENT_KEEP_RELEASES": "10", "PRE_DEPLOY_COMMAND": "cp a made",
        ])
        #expect(try await box.once(settings).outcome == "deployed")
        let reader = LinkReader(box.workspace)
        let agent = try box.start("run", settings: settings)
        for digit in digits.dropFirst() {
            try await push(digit)
            try await until("\(digit) is read", details: { agent.errors }) { reader.seen.contains(digit) }
        }
        try await until("old releases are gone", details: { agent.errors }) { try await releases().count == 11 }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(await reader.ends())
        #expect(reader.problems == [] && reader.seen == Set(digits))
    }

    @Test(
        "an agent that watches makes what vanished anew, but for what a hook removes",
        arguments: [("symlink", "rm -rf \"$(readlink -f ws)\""), ("symlink", "rm ws"), ("in-place", "rm -rf ws")])
    func vanished(mode: String, script: String) async throws {
        let settings = settings([
            "AGENT_PUBLISH": mode, "GITHUB_SYNC_INTERVAL": "50ms",
            "POST_DEPLOY_COMMAND":
                "echo . >> $OUT/post; if test -e $OUT/remove; then rm -rf \"$(readlink -f \"$WORKSPACE_PATH\")\"; fi",
        ])
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 1, agent)
        try await box.sh(script)
        try await until("it is there again", details: { agent.errors }) {
            box.text(box.workspace + "/app.txt") == "v1\n" && box.lines("post").count == 2
        }
        try await box.atRest(after: 2, agent)
        try box.touch("remove")
        try await box.commit(["app.txt": "v2\n"])
        try await until("it is gone", details: { agent.errors }) { box.lines("post").count == 3 }
        try await box.atRest(after: 3, agent)
        let checked = try await box.json("status")["last_check"]
        try await until("it has looked again") { try await box.json("status")["last_check"] != checked }
        #expect(try await box.history().count == 3 && box.text(box.workspace + "/app.txt") == nil)
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test("SIGKILL while PRE_DEPLOY writes to its release: the next start makes it anew")
    func killed() async throws {
        #expect(try await box.once(settings()).outcome == "deployed")
        try await box.commit(["app.txt": "v2\n"])
        let hooks = settings([
            "PRE_DEPLOY_COMMAND": "ls > $OUT/found; echo half > half; touch $OUT/began; test -e $OUT/go || sleep 1000"
        ])
        let agent = try box.start("run", settings: hooks)
        try await until("it runs", details: { agent.errors }) { box.has("began") }
        try await agent.send(SIGKILL)
        _ = try await agent.ended()
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        try box.touch("go")
        #expect(try await box.once(hooks).outcome == "deployed")
        #expect(box.lines("found") == ["app.txt"] && box.text(box.workspace + "/app.txt") == "v2\n")
        #expect(try await releases().count == 2)
    }

    @Test("the way of publishing may change, and so may branch and remote")
    func changes() async throws {
        #expect(try await box.once().outcome == "deployed")
        #expect(try await box.agent("run-once", settings: settings()).code == 78)
        try await box.sh("mv ws old")
        let link = try await box.once(settings())
        #expect(link.outcome == "deployed" && target != nil, "\(link)")
        try await box.sh(
            "git checkout -q -b next; echo n > app.txt; git commit -qam n; git push -q origin next", in: box.work)
        let branch = try await box.once(settings(["GITHUB_BRANCH": "next"]))
        #expect(branch.outcome == "deployed" && box.text(box.workspace + "/app.txt") == "n\n", "\(branch)")
        try await box.sh("git clone -q --bare up.git other.git")
        let other = settings(["GITHUB_REPO_URL": "file://\(box.root)/other.git", "GITHUB_BRANCH": "main"])
        #expect(try await box.once(other).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        // Back to a checkout, in one step.
        let back = try await box.once(["GITHUB_BRANCH": "next"])
        #expect(back.outcome == "deployed" && target == nil, "\(back)")
        #expect(box.text(box.workspace + "/app.txt") == "n\n")
        #expect(try await box.sh("git status --porcelain", in: box.workspace) == "")
        #expect(try await releases() == [])
        try await box.sh("git commit -q --allow-empty -m e; git push -q origin next", in: box.work)
        #expect(try await box.once(["GITHUB_BRANCH": "next"]).outcome == "deployed")
    }

    @Test("what fails before the link moves is not published: back to the commit that is live, nothing is to do")
    func failsBefore() async throws {
        let hook = settings(["POST_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/post", "HOME": box.root])
        #expect(try await box.once(hook).outcome == "deployed")
        try box.write("[filter \"none\"]\nclean = cat\nsmudge = false\nrequired\n", to: box.root + "/.gitconfig")
        try await box.commit([".gitattributes": "*.n filter=none\n", "a.n": "1\n"])
        let failed = try await box.once(hook)
        #expect(failed.code == 1 && failed.deployment["error_message"].string?.contains("a.n") == true, "\(failed)")
        try await box.sh("git reset -q --hard HEAD^; git push -qf origin main", in: box.work)
        #expect(try await box.once(hook).outcome == "unchanged")
        #expect(box.lines("post").count == 1)
    }

    @Test("needs a remote; wrong values are errors")
    func wrong() async throws {
        for (name, value) in [
            ("AGENT_PUBLISH", "link"), ("AGENT_KEEP_RELEASES", "-1"), ("AGENT_RELEASE_GRACE", "soon"),
        ] {
            let check = try await box.agent("check", settings: [name: value])
            #expect(check.code == 78 && check.errors.contains("\(name): \"\(value)\""), "\(check)")
        }
        let local = try await box.agent("check", settings: settings(["GITHUB_REPO_URL": ""]))
        #expect(local.code == 78 && local.errors.contains("AGENT_PUBLISH"), "\(local)")
    }

    @Test("other users may read through the link, and see nothing else of the state")
    func readers() async throws {
        #expect(try await box.once(settings(["PRE_DEPLOY_COMMAND": "true"])).outcome == "deployed")
        for folder in ["state", "state/workspaces", "state/workspaces/*", "state/workspaces/*/releases"] {
            #expect(try await box.sh("stat -c %a \(folder)") == "711")
        }
        #expect(
            try await box.sh("stat -c %a state/logs state/workspaces/*/running state/workspaces/*/repo.git")
                == "700\n700\n700")
    }

    @Test("commands work from within the workspace, and with the release's own path")
    func within() async throws {
        #expect(try await box.once(settings()).outcome == "deployed")
        let listed = try await box.sh(
            "WORKSPACE_PATH= AGENT_STATE_DIR=\(box.state) \(agentBinary) history --json", in: box.workspace)
        #expect(try JSON(listed).items.count == 1)
    }
}

import Foundation
import Glibc
import Testing

/// The way back to an earlier commit.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct RollbackTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let hooks = [
        "PRE_DEPLOY_COMMAND": "echo \"pre $(cat app.txt)\" >> $OUT/trace",
        "POST_DEPLOY_COMMAND": "echo \"post $(cat app.txt) $DEPLOY_TRIGGER\" >> $OUT/trace",
    ]

    func settings(_ mode: String, _ more: [String: String] = [:]) -> [String: String] {
        Self.hooks.merging(["AGENT_PUBLISH": mode]) { $1 }.merging(more) { $1 }
    }

    var trace: [String] { box.lines("trace") }
    var app: String? { box.text(box.workspace + "/app.txt") }

    /// Deploys `v1`, `v2` and so on, and returns their ids.
    func deploy(_ count: Int, _ settings: [String: String]) async throws -> [String] {
        var ids: [String] = []
        for version in 1...count {
            if version > 1 { try await box.commit(["app.txt": "v\(version)\n"]) }
            ids.append(try await box.head(of: box.work))
            #expect(try await box.once(settings).outcome == "deployed")
        }
        box.remove("trace")
        return ids
    }

    @Test(
        "the commit before is published and POST_DEPLOY runs; the one rolled back from is held until the ref moves on",
        arguments: ["in-place", "symlink"])
    func back(mode: String) async throws {
        let settings = settings(mode)
        let ids = try await deploy(2, settings)
        // Without the remote.
        try await box.sh("mv up.git away.git")
        let back = try await box.json("rollback", settings: settings)
        #expect(back["outcome"].string == "deployed" && app == "v1\n", "\(back)")
        #expect(trace == ["post v1 rollback"])
        let deployment = back["deployment"]
        #expect(deployment["trigger"].string == "rollback" && deployment["commit"].string == ids[0])
        #expect(deployment["held_commit"].string == ids[1] && deployment["previous_commit"].string == ids[1])
        try await box.sh("mv away.git up.git")
        let held = try await box.agent("run-once", settings: settings)
        #expect(held.code == 0 && held.errors.contains("is held") && app == "v1\n", "\(held)")
        #expect(try await box.agent("status", settings: settings).output.contains("was rolled back from"))
        #expect(try await box.json("status", settings: settings)["held_commit"].string == ids[1])
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.json("status", settings: settings)["held_commit"].isNull && app == "v3\n")
        // And back to the held one, which the ref does not point to any more.
        try await box.sh("git push -q -f origin \(ids[1]):main", in: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(app == "v2\n")
    }

    @Test(
        "again goes back further; a commit may be named; what cannot be is refused", arguments: ["in-place", "symlink"])
    func further(mode: String) async throws {
        let settings = settings(mode)
        let nothing = try await box.agent("rollback", settings: settings)
        #expect(nothing.code == 1 && nothing.errors.contains("nothing was rolled back"), "\(nothing)")
        let ids = try await deploy(3, settings)
        for version in ["v2\n", "v1\n"] {
            #expect(try await box.agent("rollback", settings: settings).code == 0)
            #expect(app == version)
        }
        let end = try await box.agent("rollback", settings: settings)
        #expect(end.code == 1 && end.errors.contains("no earlier commit"), "\(end)")
        #expect(try await box.once(settings).outcome == "unchanged", "the tip is held all the while")
        let named = try await box.json("rollback", String(ids[1].prefix(8)), settings: settings)
        #expect(named["deployment"]["held_commit"].string == ids[2] && app == "v2\n", "\(named)")
        let same = try await box.agent("rollback", ids[1], settings: settings)
        #expect(same.code == 1 && same.errors.contains("holds already"), "\(same)")
        for text in ["", "abc", "main"] {
            let none = try await box.agent("rollback", text, settings: settings)
            #expect(none.code == 1 && none.errors.contains("no commit id"), "\(none)")
        }
        let unknown = try await box.agent("rollback", "abcdef", settings: settings)
        #expect(unknown.code == 1 && unknown.errors.contains("agent history"), "\(unknown)")
        let local = try await box.agent(
            "rollback", settings: settings.merging(["GITHUB_REPO_URL": "", "AGENT_PUBLISH": ""]) { $1 })
        #expect(local.code == 78 && local.errors.contains("GITHUB_REPO_URL"), "\(local)")
        // To the tip itself nothing is held.
        #expect(try await box.json("rollback", ids[2], settings: settings)["deployment"]["held_commit"].isNull)
        #expect(app == "v3\n")
    }

    @Test(
        "a hook is told the same branch or tag as in a deployment",
        arguments: ["", "main", "refs/heads/main", "v2", "refs/tags/v2", "id"])
    func ref(_ branch: String) async throws {
        let settings = settings("in-place", ["POST_DEPLOY_COMMAND": "echo \"ref=$DEPLOY_REF\" >> $OUT/refs"])
        let ids = try await deploy(2, settings)
        try await box.sh("git tag v2; git push -q origin v2", in: box.work)
        let following = settings.merging(["GITHUB_BRANCH": branch == "id" ? ids[1] : branch]) { $1 }
        #expect(try await box.once(following, force: true).outcome == "deployed")
        let back = try await box.json("rollback", settings: following)
        let expected = branch == "id" ? "" : branch.hasSuffix("v2") ? "v2" : "main"
        #expect(box.lines("refs").suffix(2) == ["ref=\(expected)", "ref=\(expected)"])
        #expect(back["deployment"]["ref"].string ?? "" == expected)
    }

    @Test("whoever goes back in haste may have forgotten how the agent publishes, and where from")
    func inHaste() async throws {
        let settings = settings("symlink", ["GITHUB_SYNC_INTERVAL": "1h"])
        let ids = try await deploy(3, settings)
        try box.write("kept", to: box.workspace + "/upload")
        let releases = try await box.sh("ls state/workspaces/*/releases")
        let bare = settings.merging(["AGENT_PUBLISH": ""]) { $1 }
        let back = try await box.json("rollback", settings: bare)
        #expect(back["deployment"]["ref"].string == "main" && app == "v2\n", "\(back)")
        #expect(try await box.sh("ls state/workspaces/*/releases") == releases)
        #expect(try await box.sh("cat state/workspaces/*/releases/\(ids[2])/upload") == "kept")
        let away = try await box.agent("rollback", settings: bare.merging(["GITHUB_REPO_URL": ""]) { $1 })
        #expect(away.code == 78 && away.errors.contains("GITHUB_REPO_URL") && app == "v2\n", "\(away)")
        // The agent at work knows.
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 4, agent)
        let beside = try await box.agent("rollback", settings: bare.merging(["GITHUB_REPO_URL": ""]) { $1 })
        #expect(beside.code == 0 && app == "v1\n", "\(beside)")
    }

    @Test("several who ask at the same moment are all told what came of it")
    func together() async throws {
        let settings = settings("symlink", ["GITHUB_SYNC_INTERVAL": "1h"])
        _ = try await deploy(2, settings)
        for isBeside in [false, true] {
            let agent = isBeside ? try box.start("run", settings: settings) : nil
            if let agent { try await box.atRest(after: try await box.history().count, agent) }
            for round in 1...4 {
                let all = try (1...3).map { _ in try box.start("rollback", settings: settings) }
                for each in all {
                    let ended = try await each.ended()
                    // Whoever came too late finds nothing to go back to.
                    let isLate = ended.errors.contains("no earlier commit")
                    #expect(ended.code == 0 || ended.code == 1 && isLate, "\(round): \(ended)")
                }
                #expect(app == "v1\n")
                if agent == nil { #expect(try await box.once(settings, force: true).code == 0) }
                if isBeside { break }
            }
        }
    }

    @Test("a release that is there is linked to as it is; --with-pre makes a new one, and runs PRE_DEPLOY in it")
    func keptRelease() async throws {
        let settings = settings("symlink", ["PRE_DEPLOY_COMMAND": "echo pre >> $OUT/trace; echo made > made"])
        let ids = try await deploy(3, settings)
        let release = try await box.sh("ls -di state/workspaces/*/releases/\(ids[1])")
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        #expect(try await box.sh("ls -di state/workspaces/*/releases/\(ids[1])") == release)
        #expect(trace == ["post v2 rollback"] && box.text(box.workspace + "/made") == "made\n")
        // One that was altered is made anew.
        try await box.sh("for file in state/workspaces/*/releases/\(ids[0])/app.txt; do echo altered >> $file; done")
        let altered = try await box.json("rollback", settings: settings)
        #expect(altered["outcome"].string == "deployed" && altered["deployment"]["warnings"].int == 1, "\(altered)")
        #expect(app == "v1\n" && access(box.workspace + "/made", F_OK) != 0)
        box.remove("trace")
        #expect(try await box.agent("rollback", ids[1], "--with-pre", settings: settings).code == 0)
        #expect(trace == ["pre", "post v2 rollback"])
        // So is one that is gone.
        try await box.sh("rm -rf state/workspaces/*/releases/\(ids[0])*")
        #expect(try await box.agent("rollback", ids[0], settings: settings).code == 0)
        #expect(app == "v1\n" && trace.last == "post v1 rollback")
    }

    @Test("three replaced releases stay where nothing else is set; linking to one starts no git that writes files")
    func defaults() async throws {
        let settings = settings("symlink", ["LD_PRELOAD": try await Preload.library])
        _ = try await deploy(6, settings)
        #expect(try await box.sh("ls -d state/workspaces/*/releases/*").split(separator: "\n").count == 4)
        let watched = settings.merging(["PRELOAD_ARGUMENTS": box.out + "/arguments"]) { $1 }
        #expect(try await box.agent("rollback", settings: watched).code == 0)
        let calls = box.lines("arguments")
        #expect(app == "v5\n" && calls.contains { $0.contains("git") }, "\(calls)")
        for word in ["worktree", "separate-git-dir", "checkout", "fetch", "ls-remote", "diff-files"] {
            #expect(!calls.contains { $0.contains(word) }, "\(word): \(calls)")
        }
    }

    @Test("what an agent at work cannot do has the same exit code and reason as by itself")
    func cannotBesideAgent() async throws {
        let settings = settings("symlink", ["GITHUB_SYNC_INTERVAL": "1h"])
        _ = try await deploy(1, settings)
        let agent = try box.start("run", settings: settings)
        try await until("it rests", details: { agent.errors }) {
            try await box.json("status", settings: settings)["next_check"].string != nil
        }
        try await box.sh("mv up.git gone.git")
        let missing = String(repeating: "a", count: 40)
        let away = try await box.json("rollback", missing, settings: settings)
        #expect(away["outcome"].string == "unreachable" && away["error_kind"].string == "transient", "\(away)")
        #expect(away["error_message"].string?.contains("up.git") == true, "\(away)")
        let code = try await box.agent("rollback", missing, settings: settings)
        #expect(code.code == 69 && app == "v1\n", "\(code)")
        try await box.sh("mv gone.git up.git")
        let wrong = try await box.commit(["appspec.yaml": "envs: [{key: PRE_DEPLOY_TIMEOUT, value: never}]\n"])
        let misconfigured = try await box.agent("rollback", wrong, settings: settings)
        #expect(misconfigured.code == 78 && misconfigured.errors.contains("PRE_DEPLOY_TIMEOUT"), "\(misconfigured)")
        #expect(app == "v1\n")
    }

    @Test("a full id that was never deployed is fetched; what cannot be had ends with 69, and nothing moves")
    func neverDeployed() async throws {
        let settings = settings("symlink")
        _ = try await deploy(1, settings)
        try await box.commit(["app.txt": "v2\n"])
        let passedOver = try await box.head(of: box.work)
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        try await box.sh("mv up.git gone.git")
        let away = try await box.json("rollback", passedOver, settings: settings)
        #expect(away["outcome"].string == "unreachable" && away["error_kind"].string == "transient", "\(away)")
        #expect(try await box.agent("rollback", passedOver, settings: settings).code == 69)
        #expect(app == "v3\n")
        try await box.sh("mv gone.git up.git")
        #expect(try await box.agent("rollback", passedOver, settings: settings).code == 0)
        #expect(app == "v2\n" && trace.last == "post v2 rollback")
    }

    @Test(
        "an agent that watches does it at once, and does not deploy the held commit",
        arguments: ["in-place", "symlink"])
    func watching(mode: String) async throws {
        let settings = settings(mode, ["GITHUB_SYNC_INTERVAL": "60"])
        let ids = try await deploy(2, settings)
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 2, agent)
        let begin = ContinuousClock.now
        let back = try await box.json("rollback", settings: settings)
        #expect(back["deployment"]["commit"].string == ids[0] && app == "v1\n", "\(back) \(agent.errors)")
        #expect(ContinuousClock.now - begin < .seconds(20), "it waited for the next check")
        try await agent.send(SIGHUP)
        try await until("it has looked", details: { agent.errors }) { agent.errors.contains("is held") }
        #expect(app == "v1\n")
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test("an agent beside an app does it at once, too; the app hears nothing of how it was told")
    func besideApp() async throws {
        let settings = settings("symlink", ["GITHUB_SYNC_INTERVAL": "1h"])
        let ids = try await deploy(2, settings)
        let app = "trap 'touch $OUT/heard' HUP USR1 USR2 URG; touch $OUT/up; while :; do sleep 0.05; done"
        let agent = try box.start("exec", "--", "bash", "-c", app, settings: settings)
        try await until("the agent is at rest", details: { agent.errors }) {
            guard box.has("up"), try await box.history().count == 3 else { return false }
            return try await box.json("status", settings: settings)["next_check"].string != nil
        }
        let back = try await box.json("rollback", settings: settings)
        #expect(back["deployment"]["commit"].string == ids[0] && self.app == "v1\n", "\(back) \(agent.errors)")
        #expect(!box.has("heard"))
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test("commits that failed past publishing do not push out the release of the good one")
    func failuresBetween() async throws {
        let settings = settings("symlink", ["AGENT_KEEP_RELEASES": "1"])
        let ids = try await deploy(1, settings)
        let failing = settings.merging(["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_COMMAND": "exit 1"]) { $1 }
        for version in 2...5 {
            try await box.commit(["app.txt": "v\(version)\n"])
            #expect(try await box.once(failing).code == 1)
        }
        let release = try await box.sh("ls -di state/workspaces/*/releases/\(ids[0])")
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        #expect(try await box.sh("ls -di state/workspaces/*/releases/\(ids[0])") == release && app == "v1\n")
    }

    @Test("Ctrl-C of a rollback that another agent carries out: it goes on, and the command says so")
    func interruptedWaiting() async throws {
        let settings = settings(
            "symlink",
            [
                "POST_DEPLOY_COMMAND":
                    "if [ $DEPLOY_TRIGGER = rollback ]; then touch $OUT/began; until test -e $OUT/go; do sleep 0.05; done; fi"
            ])
        _ = try await deploy(2, settings)
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 2, agent)
        let rollback = try box.start("rollback", settings: settings)
        try await until("it runs", details: { agent.errors + rollback.errors }) { box.has("began") }
        try await rollback.send(SIGINT)
        let ended = try await rollback.ended()
        #expect(ended.code == 75 && ended.errors.contains("the agent at work carries it out"), "\(ended)")
        try box.touch("go")
        try await until("it has rolled back", details: { agent.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
        #expect(app == "v1\n")
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test(
        "one that was stopped past publishing goes on with PRE_DEPLOY where that was wanted",
        arguments: [("false", "PRE"), ("true", "POST"), ("true", "")])
    func stopped(gate: String, hook: String) async throws {
        let wait = "touch $OUT/began; test -e $OUT/go || sleep 1000; "
        let settings = settings(
            "in-place",
            [
                "PRE_DEPLOY_GATE": gate,
                "PRE_DEPLOY_COMMAND": (hook == "PRE" ? wait : "") + "echo \"pre $(cat app.txt)\" >> $OUT/trace",
                "POST_DEPLOY_COMMAND": (hook == "PRE" ? "" : wait) + "echo \"post $(cat app.txt)\" >> $OUT/trace",
            ])
        try box.touch("go")
        let ids = try await deploy(2, settings)
        box.remove("go")
        box.remove("began")
        let arguments = [agentBinary, "rollback"] + (hook.isEmpty ? [] : ["--with-pre"])
        let program = try box.start(program: arguments, settings)
        try await until("it runs", details: { program.errors }) { box.has("began") }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 0)
        try box.touch("go")
        box.remove("trace")
        let once = try await box.once(settings)
        #expect(once.deployment["trigger"].string == "rollback" && once.deployment["attempt"].int == 2, "\(once)")
        #expect(once.deployment["held_commit"].string == ids[1])
        #expect(trace == (hook.isEmpty ? [] : ["pre v1"]) + ["post v1"])
        #expect(try await box.once(settings).outcome == "unchanged")
    }

    @Test("a rollback that comes to nothing leaves the releases alone; the next one finds its own as it was")
    func keptAfterFailure() async throws {
        let settings = settings("symlink", ["AGENT_KEEP_RELEASES": "1"])
        let ids = try await deploy(1, settings)
        let failing = settings.merging(["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_COMMAND": "exit 1"]) { $1 }
        for version in 2...3 {
            try await box.commit(["app.txt": "v\(version)\n"])
            #expect(try await box.once(failing).code == 1)
        }
        let releases = try await box.sh("ls -di state/workspaces/*/releases/*")
        let broken = settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }
        let back = try await box.agent("rollback", "--with-pre", settings: broken)
        #expect(back.code == 1 && back.errors.contains("a rollback is not tried again"), "\(back)")
        #expect(try await box.sh("ls -di state/workspaces/*/releases/*") == releases)
        #expect(releases.contains(ids[0]))
    }

    @Test("POST_DEPLOY's folder may be one that PRE_DEPLOY had made, although PRE_DEPLOY does not run again")
    func madeFolder() async throws {
        let settings = settings(
            "symlink",
            [
                "PRE_DEPLOY_COMMAND": "mkdir -p built", "POST_DEPLOY_FOLDER": "built",
                "POST_DEPLOY_COMMAND": "pwd -P > $OUT/pwd",
            ])
        let ids = try await deploy(2, settings)
        let back = try await box.agent("rollback", settings: settings)
        #expect(back.code == 0 && box.lines("pwd").first?.hasSuffix("/\(ids[0])/built") == true, "\(back)")
    }

    @Test("SIGKILL in the middle: the next start carries it out", arguments: ["in-place", "symlink"])
    func killed(mode: String) async throws {
        let slow = settings(
            mode,
            [
                "POST_DEPLOY_COMMAND":
                    "echo \"post $DEPLOY_TRIGGER\" >> $OUT/trace; touch $OUT/began; test -e $OUT/go || sleep 1000"
            ])
        let ids = try await deploy(2, settings(mode))
        let rollback = try box.start("rollback", settings: slow)
        try await until("it runs", details: { rollback.errors }) { box.has("began") }
        try await rollback.send(SIGKILL)
        _ = try await rollback.ended()
        try box.touch("go")
        let once = try await box.once(slow)
        #expect(
            once.deployment["trigger"].string == "rollback" && once.deployment["commit"].string == ids[0], "\(once)")
        #expect(app == "v1\n" && trace == ["post rollback", "post rollback"])
        #expect(try await box.once(slow).outcome == "unchanged")
        let history = try await box.history().map { $0["status"].string }
        #expect(history == ["succeeded", "interrupted", "succeeded", "succeeded"])
    }

    @Test(
        "a hold ends when the ref moves on, also back to what was gone back to; a newer commit that fails is not held")
    func moved() async throws {
        let settings = settings("symlink")
        let ids = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try await box.sh("git push -q -f origin \(ids[0]):main", in: box.work)
        #expect(try await box.once(settings).outcome == "unchanged")
        try await box.sh("git push -q -f origin \(ids[1]):main", in: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(app == "v2\n")
        // One that does not get past its gate, above the one that is rolled back from.
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }).code == 1)
        let back = try await box.json("rollback", settings: settings)
        #expect(back["deployment"]["held_commit"].string == ids[1] && app == "v1\n", "\(back)")
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(app == "v3\n")
    }

    @Test("a rollback whose POST_DEPLOY fails is recorded as failed, once, and the commit stays held")
    func failing() async throws {
        let good = settings("symlink")
        _ = try await deploy(2, good)
        let bad = settings(
            "symlink", ["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_COMMAND": "exit 3", "POST_DEPLOY_RETRIES": "5"])
        let back = try await box.agent("rollback", settings: bad)
        #expect(back.code == 1 && app == "v1\n", "\(back)")
        for _ in 1...2 { #expect(try await box.once(bad).outcome == "unchanged") }
        #expect(try await box.history().count == 3)
    }

    @Test(
        "SIGKILL at any moment of a publish: the link leads to the old release or to the new one, and the next start goes on"
    )
    func killedWhilePublishing() async throws {
        let settings = ["AGENT_PUBLISH": "symlink", "AGENT_KEEP_RELEASES": "1"]
        #expect(try await box.once(settings).outcome == "deployed")
        for round in 1...20 {
            try await box.commit(["app.txt": "v\(round)\n", "sub/b.txt": "v\(round)\n"])
            let program = try box.start("run-once", settings: settings)
            // From before the first look to after the clean-up.
            try await Task.sleep(for: .milliseconds(round * 12))
            try await program.send(SIGKILL)
            _ = try await program.ended()
            let (a, b) = (app, box.text(box.workspace + "/sub/b.txt"))
            #expect(a != nil && (a == b || round == 1), "\(a ?? "nothing") beside \(b ?? "nothing") in round \(round)")
            let next = try await box.once(settings)
            #expect(next.code == 0 && app == "v\(round)\n", "\(next)")
            #expect(try await box.sh("git status --porcelain", in: box.workspace) == "")
        }
        // The last one may have been killed while it tidied up, its commit deployed: the next deployment does the rest.
        try await box.commit(["app.txt": "last\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        let releases = try await box.sh("ls -d state/workspaces/*/releases/* | wc -l")
        let trees = try await box.sh("ls -d state/workspaces/*/repo.git/worktrees/* | wc -l")
        #expect(releases == "2" && trees == "2", "\(releases) releases, \(trees) work trees")
    }

    @Test("SIGKILL at any moment of a rollback: the next start has carried it out, or nothing was asked for yet")
    func killedWhileRollingBack() async throws {
        let settings = ["AGENT_PUBLISH": "symlink"]
        _ = try await deploy(2, settings)
        for round in 1...15 {
            let program = try box.start("rollback", settings: settings)
            try await Task.sleep(for: .milliseconds(round * 8))
            try await program.send(SIGKILL)
            _ = try await program.ended()
            #expect(app == "v1\n" || app == "v2\n")
            let once = try await box.once(settings)
            let newest = try #require(try await box.history().first)
            let isBack = newest["trigger"].string == "rollback"
            #expect(once.code == 0 && app == (isBack ? "v1\n" : "v2\n"), "round \(round): \(once)")
            #expect(newest["status"].string == "succeeded")
            // To the tip again.
            if isBack { #expect(try await box.once(settings, force: true).code == 0) }
            #expect(app == "v2\n")
        }
    }
}

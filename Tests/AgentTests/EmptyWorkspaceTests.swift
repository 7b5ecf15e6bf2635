import Foundation
import Glibc
import Testing

/// An agent that watches, in a new container whose record is of before: nothing is in the workspace, and it is not ready
/// until that has changed.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct EmptyWorkspaceTests {
    let box: Box
    let port: String
    let settings: [String: String]

    init() async throws {
        box = try await Box()
        port = try await box.freePort()
        settings = [
            "AGENT_PUBLISH": "symlink", "AGENT_LEDGER_URL": "sqlite:\(box.root)/kept.sqlite",
            "ENABLE_DEV_HEALTH": "true", "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
            "GITHUB_SYNC_INTERVAL": "200ms",
        ]
    }

    private var app: String? { box.text(box.workspace + "/app.txt") }

    /// Nil when it is ready, else what it says.
    private func unready() async throws -> String? {
        let ended = try await box.start(program: ["curl", "-s", "-m", "5", "http://127.0.0.1:\(port)/readyz"]).ended()
        guard ended.code == 0 else { return "nothing answers" }
        return try JSON(ended.output)["reason"].string
    }

    private func history() async throws -> [JSON] {
        try await box.json("history", "--limit", "1000", settings: settings).items
    }

    /// Deploys two commits, rolls back to the first, and throws away all but the record.
    private func rollBack(_ more: [String: String] = [:]) async throws -> [String] {
        let settings = settings.merging(more) { $1 }
        let first = try await box.head(of: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        let second = try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try await box.sh("rm -rf ws state")
        return [first, second]
    }

    @Test(
        "what was gone back to is tried again, with a growing pause, until it is there",
        arguments: ["exit 1", "exit 75"], [true, false])
    func triedAgain(how: String, isGated: Bool) async throws {
        let more = [
            "PRE_DEPLOY_GATE": isGated ? "true" : "false",
            "PRE_DEPLOY_COMMAND": "test -e $OUT/broken && \(how); cat app.txt >> $OUT/pre",
        ]
        let ids = try await rollBack(more)
        box.remove("pre")
        try box.touch("broken")
        let program = try box.start("run", settings: settings.merging(more) { $1 })
        // Between two tries, so that none of them is still under way.
        var tries: ArraySlice<JSON> = []
        try await until("it was tried again", details: { program.errors }) {
            let all = try await history()
            tries = all.dropLast(3)
            return all.count >= 6 && !all.contains { $0["status"].string == "running" }
        }
        let reason = try #require(try await unready())
        #expect(reason.contains("PRE_DEPLOY"), "\(reason)")
        for each in tries {
            #expect(each["commit"].string == ids[0] && each["trigger"].string == "rollback", "\(each)")
            #expect(each["status"].string == (how == "exit 1" ? "failed" : "deferred"))
            #expect(each["settled"].bool == false && each["retry_at"].string != nil, "\(each)")
        }
        #expect(tries.map { $0["attempt"].int } == (1...tries.count).reversed().map { $0 })
        // Between two tries; a try has its own outcome.
        try await until("it waits", details: { program.errors }) {
            try await box.json("status", settings: settings)["last_outcome"].string == "unchanged"
        }
        box.remove("broken")
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        #expect(app == "v1\n" && box.lines("pre") == ["v1"])
        let count = try await history().count
        try await program.send(SIGHUP)
        try await until("it has looked", details: { program.errors }) { program.errors.contains("is held") }
        #expect(try await history().count == count)
    }

    @Test("when its retries are used up it stays unready until somebody decides", arguments: ["held", "gone back to"])
    func settled(how: String) async throws {
        let more = ["PRE_DEPLOY_RETRIES": "1", "PRE_DEPLOY_COMMAND": "test ! -e $OUT/broken"]
        let ids = try await rollBack(more)
        try box.touch("broken")
        let program = try box.start("run", settings: settings.merging(more) { $1 })
        try await until("it has given up", details: { program.errors }) {
            guard let newest = try await history().first else { return false }
            return newest["attempt"].int == 2 && newest["settled"].bool == true
        }
        for _ in 1...3 {
            try await program.send(SIGHUP)
            let before = try await box.json("status", settings: settings)["last_check"].string
            try await until("it has looked", details: { program.errors }) {
                try await box.json("status", settings: settings)["last_check"].string != before
            }
        }
        #expect(try await history().count == 5)
        #expect(try await unready()?.contains("`agent retry \(ids[0].prefix(7))`") == true)
        box.remove("broken")
        guard how == "held" else {
            let retried = try await box.agent("retry", String(ids[0].prefix(8)), settings: settings)
            #expect(retried.code == 0 && retried.output.contains(ids[0].prefix(7)), "\(retried)")
            try await program.send(SIGHUP)
            try await until("it is there", details: { program.errors }) { try await unready() == nil }
            #expect(app == "v1\n")
            #expect(try await box.json("status", settings: settings)["held_commit"].string == ids[1])
            return
        }
        let retried = try await box.agent("retry", settings: settings)
        #expect(retried.code == 0, "\(retried)")
        try await until("the held one is deployed", details: { program.errors }) { try await unready() == nil }
        #expect(app == "v2\n")
        #expect(try await history().first?["commit"].string == ids[1])
    }

    @Test("a remote that is away at the start is waited for; it is not ready meanwhile", arguments: [true, false])
    func remoteAway(isHeld: Bool) async throws {
        if isHeld {
            _ = try await rollBack()
        } else {
            #expect(try await box.once(settings).outcome == "deployed")
            try await box.sh("rm -rf ws state")
        }
        try await box.sh("mv up.git gone.git")
        let program = try box.start("run", settings: settings)
        try await until("it has looked twice", details: { program.errors }) {
            program.errors.components(separatedBy: "tried again at the next check").count > 2
        }
        #expect(try await unready() != nil)
        try await box.sh("mv gone.git up.git")
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        #expect(app == "v1\n")
    }

    @Test("retries count over starts; with an empty workspace one may ask for a rollback to the same commit")
    func onceEach() async throws {
        let more = settings.merging([
            "ENABLE_DEV_HEALTH": "false", "PRE_DEPLOY_RETRIES": "0",
            "PRE_DEPLOY_COMMAND": "echo x >> $OUT/pre; test ! -e $OUT/broken",
        ]) { $1 }
        let ids = try await rollBack(more)
        box.remove("pre")
        try box.touch("broken")
        #expect(try await box.once(more).code == 1)
        let again = try await box.once(more)
        #expect(again.outcome == "unchanged" && again.ended.errors.contains("PRE_DEPLOY failed"), "\(again)")
        #expect(box.lines("pre").count == 1)
        box.remove("broken")
        let back = try await box.json("rollback", ids[0], settings: more)
        #expect(back["deployment"]["held_commit"].string == ids[1] && app == "v1\n", "\(back)")
    }

    @Test("a start that always deploys goes on until what was gone back to has been deployed")
    func always() async throws {
        let more = ["AGENT_ON_START": "always", "PRE_DEPLOY_COMMAND": "test ! -e $OUT/broken || exit 75"]
        _ = try await box.once(settings)
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try box.touch("broken")
        let program = try box.start("run", settings: settings.merging(more) { $1 })
        try await until("it was tried again", details: { program.errors }) { try await history().count >= 5 }
        #expect(try await unready()?.contains("PRE_DEPLOY") == true)
        // Each after its time: of two starts at most the first one counts as the start.
        let starts = try await history().filter { $0["status"].string == "deferred" }.compactMap {
            $0["started_at"].string
        }
        #expect(Set(starts.map { $0.prefix(21) }).count == starts.count, "\(starts)")
        box.remove("broken")
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        let newest = try #require(try await history().first)
        #expect(newest["trigger"].string == "rollback" && newest["status"].string == "succeeded", "\(newest)")
        #expect(app == "v1\n")
    }

    @Test("a release that cannot be made is tried again, where the workspace was removed", arguments: [true, false])
    func diskFull(isHeld: Bool) async throws {
        try box.install(
            "git",
            """
            if test -e $OUT/full && [[ " $* " == *" --separate-git-dir "* ]]; then
                rm $OUT/full; echo "fatal: No space left on device" >&2; exit 128
            fi
            exec /usr/bin/git "$@"
            """)
        let more = ["PRE_DEPLOY_COMMAND": "true"]
        if isHeld {
            _ = try await rollBack(more)
        } else {
            #expect(try await box.once(settings.merging(more) { $1 }).outcome == "deployed")
        }
        let program = try box.start("run", settings: settings.merging(more) { $1 })
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        try box.touch("full")
        try await box.sh("rm ws; rm -rf state/workspaces/*/releases/*")
        try await until("it is there again", details: { program.errors }) { !box.has("full") && app == "v1\n" }
        try await until("it is ready again", details: { program.errors }) { try await unready() == nil }
    }

    @Test("a rollback that cannot be made takes nothing out of service")
    func askedInVain() async throws {
        #expect(try await box.once(settings).outcome == "deployed")
        let more = settings.merging(["GITHUB_SYNC_INTERVAL": "1h"]) { $1 }
        let program = try box.start("run", settings: more)
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        let unknown = try await box.agent("rollback", String(repeating: "a", count: 40), settings: more)
        #expect(unknown.code == 78 || unknown.code == 69, "\(unknown)")
        try await until("it says so", details: { program.errors }) {
            program.errors.contains("the rollback was not made")
        }
        #expect(try await unready() == nil)
        #expect(!program.errors.contains("asked again at"))
    }

    @Test("after a restart the commit of a rollback that came to nothing is not taken for the live one")
    func recalled() async throws {
        let failing = settings.merging(["PRE_DEPLOY_COMMAND": "exit 1", "GITHUB_SYNC_INTERVAL": "1h"]) { $1 }
        let first = try await box.head(of: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        for version in 2...3 {
            try await box.commit(["app.txt": "v\(version)\n"])
            #expect(try await box.once(settings).outcome == "deployed")
        }
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        let live = try await box.head()
        #expect(try await box.agent("rollback", first, "--with-pre", settings: failing).code == 1)
        let program = try box.start("run", settings: failing)
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        let metrics = try await box.start(program: ["curl", "-s", "-m", "5", "http://127.0.0.1:\(port)/metrics"])
            .ended()
        #expect(metrics.output.contains("deploy_agent_commit_info{commit=\"\(live)\""), "\(metrics)")
    }

    @Test("what every start does it does once the remote is there")
    func startsLate() async throws {
        let more = ["AGENT_ON_START": "always", "POST_DEPLOY_COMMAND": "echo $DEPLOY_TRIGGER >> $OUT/post"]
        #expect(try await box.once(settings.merging(more) { $1 }).outcome == "deployed")
        try await box.sh("mv up.git gone.git")
        let program = try box.start("run", settings: settings.merging(more) { $1 })
        try await until("it has looked twice", details: { program.errors }) {
            program.errors.components(separatedBy: "tried again at the next check").count > 2
        }
        try await box.sh("mv gone.git up.git")
        try await until("it has deployed", details: { program.errors }) { try await history().count == 2 }
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        #expect(box.lines("post") == ["manual", "startup"])
    }

    @Test("a commit that nobody has any more is asked for ever less often, and it is not ready; the next commit is")
    func gone() async throws {
        #expect(try await box.once(settings).outcome == "deployed")
        // Another history.
        try await box.sh(
            "git checkout -q --orphan other; echo v2 > app.txt; git commit -q -a -m other; git push -q -f origin HEAD:main",
            in: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try await box.sh("rm -rf ws state; git -C up.git gc -q --prune=now")
        let program = try box.start("run", settings: settings)
        try await until("it says so", details: { program.errors }) {
            program.errors.contains("waiting does not help: asked again at")
        }
        let reason = try #require(try await unready())
        #expect(reason != "starting" && reason != "nothing answers", "\(reason)")
        #expect(try await box.agent("status", settings: settings).output.contains("waiting does not help"))
        try await box.commit(["app.txt": "v3\n"])
        try await until("it is ready", details: { program.errors }) { try await unready() == nil }
        #expect(app == "v3\n")
    }
}

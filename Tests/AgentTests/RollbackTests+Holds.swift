import Foundation
import Glibc
import Testing

/// What was rolled back from is held: nothing deploys it by itself.
extension RollbackTests {
    @Test("`agent retry` and --force deploy a held commit again", arguments: ["retry", "force"])
    func release(how: String) async throws {
        let settings = settings("symlink")
        let ids = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        if how == "retry" {
            #expect(try await box.once(settings).outcome == "unchanged")
            let retried = try await box.agent("retry", settings: settings)
            #expect(retried.code == 0 && retried.output.contains(ids[1].prefix(7)), "\(retried)")
        }
        let once = try await box.once(settings, force: how == "force")
        #expect(once.outcome == "deployed" && app == "v2\n", "\(once)")
        #expect(try await box.once(settings).outcome == "unchanged")
    }

    @Test("a way back to what is held that fails does not change what is held then")
    func triesForward() async throws {
        let settings = settings("symlink")
        let failing = settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }
        let ids = try await deploy(3, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        #expect(try await box.agent("rollback", ids[2], "--with-pre", settings: failing).code == 1)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        #expect(app == "v1\n")
        #expect(try await box.history().first?["held_commit"].string == ids[2])
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v1\n")
        // In either case of its letters.
        #expect(try await box.agent("retry", ids[2].uppercased(), settings: settings).code == 0)
        #expect(try await box.once(settings).deployment["commit"].string == ids[2])
    }

    @Test(
        "a hold that ended with another commit is not carried on by that one's next deployment",
        arguments: [true, false])
    func holdEnds(failsFirst: Bool) async throws {
        let settings = settings("symlink")
        let ids = try await deploy(3, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        if failsFirst {
            let failing = settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }
            #expect(try await box.agent("rollback", "--with-pre", settings: failing).code == 1)
        }
        try await box.sh("git reset -q --hard \(ids[1]); git push -q -f origin HEAD:main", in: box.work)
        if failsFirst {
            #expect(try await box.once(settings).outcome == "unchanged")
            #expect(try await box.agent("rollback", settings: settings).code == 0)
            // What is held is what was live, and stays so.
            #expect(try await box.once(settings).outcome == "unchanged")
            #expect(app == "v1\n")
        } else {
            #expect(try await box.once(settings, force: true).deployment["held_commit"].isNull)
            try await box.sh("git reset -q --hard \(ids[2]); git push -q -f origin HEAD:main", in: box.work)
            #expect(try await box.once(settings).deployment["commit"].string == ids[2])
        }
    }

    @Test("a new container has what was gone back to, not what is held", arguments: ["run-once", "exec"])
    func newContainer(command: String) async throws {
        let settings = settings("symlink", ["AGENT_LEDGER_URL": "sqlite:\(box.root)/kept.sqlite"])
        _ = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        box.remove("trace")
        try await box.sh("rm -rf ws state")
        if command == "exec" {
            let app = try box.start(
                program: [agentBinary, "exec", "--", "sh", "-c", "cat app.txt; " + Hooks.await_("end")], settings)
            try await until("POST_DEPLOY has run", details: { app.errors }) { trace.count == 2 }
            try box.touch("end")
            let ended = try await app.ended()
            #expect(ended.code == 0 && ended.output.contains("v1"), "\(ended)")
        } else {
            #expect(try await box.once(settings).deployment["trigger"].string == "rollback")
        }
        #expect(app == "v1\n" && trace == ["pre v1", "post v1 rollback"])
        // What every start deploys with exec is not the held one either.
        if command == "exec" {
            let again = try await box.start(program: [agentBinary, "exec", "--", "cat", "app.txt"], settings).ended()
            #expect(again.output.contains("v1"), "\(again)")
        }
        // The app may have ended while POST_DEPLOY ran: then what was gone back to is deployed once more.
        let last = try await box.once(settings)
        #expect(last.code == 0 && app == "v1\n", "\(last)")
        #expect(command == "exec" || last.outcome == "unchanged")
    }

    @Test(
        "in a new container what is held is not deployed either when the way back comes to nothing at first",
        arguments: ["exit 1", "exit 75", "sleep 1000"])
    func newContainerFails(how: String) async throws {
        let settings = settings(
            "symlink",
            [
                "AGENT_LEDGER_URL": "sqlite:\(box.root)/kept.sqlite", "AGENT_START_TIMEOUT": "1s",
                "PRE_DEPLOY_COMMAND": "touch $OUT/began; test -e $OUT/broken && \(how); cat app.txt >> $OUT/pre",
            ])
        _ = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try await box.sh("rm -rf ws state; rm out/pre out/began")
        try box.touch("broken")
        let first = try box.start(program: [agentBinary, "exec", "--", "touch", box.out + "/app"], settings)
        if how == "sleep 1000" {
            try await until("PRE_DEPLOY runs", details: { first.errors }) { box.has("began") }
            try await first.send(SIGKILL)
        }
        let ended = try await first.ended()
        #expect(["exit 1": 1, "exit 75": 75, "sleep 1000": 137][how] == ended.code, "\(ended)")
        #expect(!box.has("app") && !box.has("pre"))
        box.remove("broken")
        let second = try await box.start(program: [agentBinary, "exec", "--", "cat", "app.txt"], settings).ended()
        #expect(second.code == 0 && second.output.contains("v1"), "\(second)")
        #expect(box.lines("pre") == ["v1"])
        #expect(try await box.once(settings).code == 0 && app == "v1\n")
    }

    @Test("a start without the remote changes nothing of what is held")
    func offline() async throws {
        let settings = settings("symlink")
        _ = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try await box.sh("mv up.git gone.git")
        box.remove("trace")
        let exec = try box.start(
            program: [agentBinary, "exec", "--", "sh", "-c", "cat app.txt; " + Hooks.await_("end")], settings)
        try await until("POST_DEPLOY has run", details: { exec.errors }) { trace.count == 2 }
        try await until("it is recorded", details: { exec.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
        try box.touch("end")
        let start = try await exec.ended()
        #expect(start.code == 0 && start.output.contains("v1"), "\(start)")
        try await box.sh("mv gone.git up.git")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v1\n")
        let status = try await box.agent("status", settings: settings)
        #expect(status.output.contains("held"), "\(status)")
    }

    @Test(
        "a rollback whose PRE_DEPLOY fails changes nothing: neither what is live nor what is held", arguments: [1, 75])
    func changesNothing(code: Int) async throws {
        let settings = settings("symlink")
        let failing = settings.merging(["PRE_DEPLOY_COMMAND": "exit \(code)"]) { $1 }
        let ids = try await deploy(3, settings)
        func status() async throws -> String { try await box.agent("status", settings: settings).output }
        #expect(try await box.agent("rollback", "--with-pre", settings: failing).code == code)
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v3\n" && trace.isEmpty)
        #expect(try await !status().contains("held "))
        #expect(try await box.agent("retry", settings: settings).code == 1)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        #expect(app == "v2\n")
        #expect(try await box.agent("rollback", "--with-pre", settings: failing).code == code)
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v2\n")
        #expect(try await status().contains("held        \(ids[2].prefix(12))"))
        #expect(try await box.agent("retry", settings: settings).code == 0)
        #expect(try await box.once(settings).deployment["commit"].string == ids[2])
        #expect(app == "v3\n")
    }

    @Test("what is held is what was live when it was gone back from, not when that was asked for")
    func deployedMeanwhile() async throws {
        let settings = settings(
            "symlink",
            [
                "PRE_DEPLOY_COMMAND":
                    "if grep -q v3 app.txt; then touch $OUT/began; until test -e $OUT/go; do sleep 0.05; done; fi"
            ])
        _ = try await deploy(2, settings)
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 2, agent)
        let newest = try await box.commit(["app.txt": "v3\n"])
        try await until("PRE_DEPLOY runs", details: { agent.errors }) { box.has("began") }
        let rollback = try box.start("rollback", "--json", settings: settings)
        try await until("it waits", details: { rollback.errors }) { rollback.errors.contains("rolls back") }
        try box.touch("go")
        let back = try JSON(try await rollback.ended().output)
        #expect(back["deployment"]["held_commit"].string == newest && app == "v1\n", "\(back)")
        try await box.atRest(after: 4, agent)
        #expect(app == "v1\n")
    }

    @Test("`agent retry` after a rollback that came to nothing makes due what failed before it")
    func retryBefore() async throws {
        let settings = settings("symlink", ["PRE_DEPLOY_RETRIES": "0"])
        let failing = settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }
        _ = try await deploy(2, settings)
        let failed = try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(failing).code == 1)
        let back = try await box.json("rollback", "--with-pre", settings: failing)
        #expect(back["outcome"].string == "failed" && back["deployment"]["held_commit"].isNull, "\(back)")
        #expect(try await box.once(settings).outcome == "unchanged")
        let retried = try await box.agent("retry", settings: settings)
        #expect(retried.code == 0 && retried.output.contains(failed.prefix(7)), "\(retried)")
        #expect(try await box.once(settings).deployment["commit"].string == failed)
        #expect(app == "v3\n")
    }

    @Test("the record is tidied up to its newest entries, but for the one that holds")
    func pruned() async throws {
        let settings = settings("symlink", ["AGENT_KEEP": "2"])
        let failing = settings.merging(["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_COMMAND": "exit 1"]) { $1 }
        let ids = try await deploy(3, settings)
        #expect(try await box.agent("rollback", settings: failing).code == 1)
        let broken = settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }
        for _ in 1...3 { #expect(try await box.agent("rollback", ids[0], "--with-pre", settings: broken).code == 1) }
        #expect(try await box.history().count == 4)
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v2\n")
        #expect(try await box.agent("status", settings: settings).output.contains("held        \(ids[2].prefix(12))"))
    }

    @Test("killed while it tidied up after a rollback: the next start goes on, and starts the app")
    func killedTidying() async throws {
        let settings = settings(
            "symlink",
            [
                "POST_DEPLOY_COMMAND": "cp \(box.state)/workspaces/*/rollback.json $OUT/request || true",
                "AGENT_LEDGER_URL": "sqlite:\(box.root)/kept.sqlite", "AGENT_ON_START": "changed",
            ])
        _ = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        let count = try await box.json("history", settings: settings).items.count
        // The record has it, and the request lies there still.
        try await box.sh("cp out/request \"$(ls -d state/workspaces/*)/rollback.json\"")
        let app = try await box.start(program: [agentBinary, "exec", "--", "cat", "app.txt"], settings).ended()
        #expect(app.code == 0 && app.output.contains("v1"), "\(app)")
        #expect(try await box.json("history", settings: settings).items.count == count)
        try await box.sh("cp out/request \"$(ls -d state/workspaces/*)/rollback.json\"")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(try await box.sh("ls state/workspaces/*/rollback.json 2>/dev/null || true") == "")
    }

    @Test(
        "`exec` starts no app on what was gone back to while that does not stand",
        arguments: [("exit 75", "true", 75), ("true", "exit 1", 1)])
    func noApp(pre: String, post: String, code: Int) async throws {
        let good = settings("symlink", ["AGENT_LEDGER_URL": "sqlite:\(box.root)/kept.sqlite"])
        _ = try await deploy(2, good)
        let bad = good.merging([
            "PRE_DEPLOY_COMMAND": pre, "POST_DEPLOY_COMMAND": post, "POST_DEPLOY_MODE": "strict",
            "AGENT_ON_START": "changed", "AGENT_START_TIMEOUT": "1s",
        ]) { $1 }
        if code == 75 {
            #expect(try await box.agent("rollback", settings: good).code == 0)
            try await box.sh("rm -rf ws state")
        } else {
            #expect(try await box.agent("rollback", settings: bad).code == 1)
        }
        let start = try await box.start(program: [agentBinary, "exec", "--", "touch", box.out + "/app"], bad).ended()
        #expect(start.code == code && !box.has("app"), "\(start)")
    }

    /// A git that can write nothing once `full` is there.
    private func installFullDisk() throws {
        try box.install(
            "git",
            """
            if test -e $OUT/full && [[ " $* " == *" reset "* || " $* " == *" checkout "* || " $* " == *" read-tree "* ]]; then
                echo "fatal: No space left on device" >&2; exit 128
            fi
            exec /usr/bin/git "$@"
            """)
    }

    @Test(
        "a rollback that could not publish where nothing was live goes on, with PRE_DEPLOY, of which nothing is there",
        arguments: [true, false])
    func notPublished(withPre: Bool) async throws {
        let settings = settings("in-place", ["PRE_DEPLOY_GATE": "false"])
        _ = try await deploy(2, settings)
        try installFullDisk()
        try await box.sh("rm -rf ws")
        try box.touch("full")
        let arguments = [agentBinary, "rollback"] + (withPre ? ["--with-pre"] : [])
        let back = try await box.start(program: arguments, settings).ended()
        #expect(back.code == 1, "\(back)")
        box.remove("full")
        box.remove("trace")
        let once = try await box.once(settings)
        #expect(once.deployment["trigger"].string == "rollback" && once.code == 0, "\(once)")
        #expect(trace == ["pre v1", "post v1 rollback"])
    }

    @Test("a rollback that could not publish leaves what was live, holds nothing, and is not tried again")
    func leftAsItWas() async throws {
        let settings = settings("in-place", ["PRE_DEPLOY_GATE": "false"])
        _ = try await deploy(2, settings)
        try installFullDisk()
        try box.touch("full")
        let back = try await box.start(program: [agentBinary, "rollback"], settings).ended()
        #expect(back.code == 1 && back.errors.contains("No space left on device"), "\(back)")
        #expect(back.errors.contains("a rollback is not tried again"), "\(back)")
        #expect(app == "v2\n")
        box.remove("full")
        box.remove("trace")
        let once = try await box.once(settings)
        #expect(once.outcome == "unchanged" && once.code == 0 && trace.isEmpty, "\(once)")
        #expect(try await box.json("status")["held_commit"].string == nil)
    }

    @Test("`agent retry` of a held commit makes it due at once, whatever its own backoff says")
    func retryHeld() async throws {
        let failing = settings(
            "symlink",
            [
                "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict", "POST_DEPLOY_RETRIES": "unlimited",
                "POST_DEPLOY_COMMAND": "test ! -e $OUT/broken || grep -q v1 app.txt", "GITHUB_SYNC_INTERVAL": "1h",
            ])
        _ = try await deploy(1, failing)
        try box.touch("broken")
        let bad = try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(failing).code == 1)
        #expect(app == "v1\n")
        box.remove("broken")
        let retried = try await box.agent("retry", settings: failing)
        #expect(retried.code == 0 && retried.output.contains(bad.prefix(7)), "\(retried)")
        let agent = try box.start("run", settings: failing)
        try await until("it is deployed", details: { agent.errors }) { app == "v2\n" }
    }

    @Test("what waits for a commit that is away does not hold up a newer one")
    func newerMeanwhile() async throws {
        let settings = settings(
            "in-place",
            [
                "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict",
                "POST_DEPLOY_COMMAND":
                    "if grep -q v2 app.txt; then rm -rf \(box.state)/workspaces/*/repo.git; exit 1; fi",
            ])
        let first = try await deploy(1, settings)[0]
        try box.install(
            "git",
            """
            if [[ "$*" == *fetch*\(first)* ]]; then
                echo "fatal: unable to access: Connection refused" >&2; exit 128
            fi
            exec /usr/bin/git "$@"
            """)
        try await box.commit(["app.txt": "v2\n"])
        let failed = try await box.once(settings)
        #expect(failed.code == 1 && failed.ended.errors.contains("the rollback failed"), "\(failed)")
        // Its own retries do not run meanwhile.
        #expect(try await box.once(settings).code == 69)
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(app == "v3\n")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v3\n")
    }

    @Test("a rollback by itself that defers is tried again")
    func defersByItself() async throws {
        let settings = settings(
            "symlink",
            [
                "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict",
                "POST_DEPLOY_COMMAND":
                    "grep -q v1 app.txt || exit 1; test $DEPLOY_TRIGGER != rollback || test -e $OUT/go || exit 75",
            ])
        _ = try await deploy(1, settings)
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).code == 1)
        #expect(try await box.history().first?["status"].string == "deferred")
        try box.touch("go")
        let again = try await box.once(settings)
        #expect(again.outcome == "deployed" && again.deployment["trigger"].string == "rollback", "\(again)")
        #expect(app == "v1\n")
        #expect(try await box.once(settings).outcome == "unchanged")
    }

    @Test("Ctrl-C while the remote is asked ends a rollback in order")
    func stoppedAsking() async throws {
        let settings = settings("symlink")
        _ = try await deploy(1, settings)
        try box.install(
            "git", "if [[ \"$*\" == *fetch* ]]; then touch $OUT/asking; sleep 1000; fi; exec /usr/bin/git \"$@\"")
        let program = try box.start("rollback", String(repeating: "a", count: 40), settings: settings)
        try await until("it asks", details: { program.errors }) { box.has("asking") }
        try await program.send(SIGINT)
        let ended = try await program.ended()
        #expect(ended.code == 0 && ended.errors.contains("stopped before there was a rollback"), "\(ended)")
    }

    @Test("a head that has failed for good stays so when what is live is rolled back from")
    func failedHead() async throws {
        let settings = settings("symlink", ["PRE_DEPLOY_RETRIES": "0"])
        _ = try await deploy(2, settings)
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }).code == 1)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        box.remove("trace")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(app == "v1\n" && trace.isEmpty)
    }

    @Test("what was rolled back over is deployed when the ref comes back to it from one that failed")
    func comesBack() async throws {
        let settings = settings("symlink")
        let ids = try await deploy(2, settings)
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }).code == 1)
        try await box.sh("git push -q -f origin \(ids[1]):main", in: box.work)
        #expect(try await box.once(settings).deployment["commit"].string == ids[1])
        #expect(app == "v2\n")
    }

    /// POST_DEPLOY of `v2` waits for `go`, then fails, which is rolled back from.
    ///
    /// - Parameter before: what it does first.
    private func failsSlowly(_ mode: String = "symlink", before: String = "") -> [String: String] {
        settings(
            mode,
            [
                "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict",
                "POST_DEPLOY_COMMAND": """
                if grep -q v2 app.txt; then
                    \(before)touch $OUT/began; until test -e $OUT/go; do sleep 0.05; done; exit 1
                fi
                """,
            ])
    }

    @Test("a rollback that is asked for in vain does not put off the one that follows a failure by itself")
    func askedDuringFailure() async throws {
        let settings = failsSlowly()
        _ = try await deploy(1, settings)
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 1, agent)
        try await box.commit(["app.txt": "v2\n"])
        try await until("POST_DEPLOY runs", details: { agent.errors }) { box.has("began") }
        let asked = try box.start("rollback", String(repeating: "1", count: 40), settings: settings)
        try await until("it waits", details: { asked.errors }) { asked.errors.contains("rolls back") }
        try box.touch("go")
        let ended = try await asked.ended()
        #expect(ended.code == 78 || ended.code == 69, "\(ended)")
        #expect(!ended.errors.contains("POST_DEPLOY"), "\(ended)")
        try await box.atRest(after: 3, agent)
        #expect(app == "v1\n")
    }

    @Test("killed while it tidied up, with PRE_DEPLOY wanted where there is none: it is not carried out again")
    func killedTidyingWithPre() async throws {
        let settings = settings(
            "symlink",
            [
                "PRE_DEPLOY_COMMAND": "",
                "POST_DEPLOY_COMMAND":
                    "echo post >> $OUT/trace; cp \(box.state)/workspaces/*/rollback.json $OUT/request || true",
            ])
        _ = try await deploy(2, settings)
        #expect(try await box.agent("rollback", "--with-pre", settings: settings).code == 0)
        try await box.sh("cp out/request \"$(ls -d state/workspaces/*)/rollback.json\"")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(trace == ["post"])
    }

    @Test("a request that comes to nothing at the start leaves the start's check to come")
    func startAfterVain() async throws {
        let settings = settings("symlink")
        _ = try await deploy(1, settings)
        let nobodys = String(repeating: "1", count: 40)
        let request = "{\"commit\":\"\(nobodys)\",\"with_pre\":false,\"time\":1}"
        try await box.sh("echo '\(request)' > \"$(ls -d state/workspaces/*)/rollback.json\"")
        try await box.sh("rm ws; mkdir ws; touch ws/somebodys")
        let ended = try await box.agent("run", settings: settings)
        #expect(ended.code == 78 && ended.errors.contains("the rollback was not made"), "\(ended)")
    }

    @Test(
        "root may ask the agent of another user, and leaves nothing that this one cannot use",
        .enabled(if: geteuid() == 0))
    func byRoot() async throws {
        let settings = settings("in-place")
        let program = box.root + "/deploy-agent"
        try await box.sh("cp '\(agentBinary)' deploy-agent; chmod 755 .; mkdir -p state; chown 65534:65534 . out state")
        let asUser = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program]
        let agent = try box.start(program: asUser + ["run"], settings)
        try await until("it is deployed", details: { agent.errors }) { app == "v1\n" }
        try await box.commit(["app.txt": "v2\n"])
        try await until("it is deployed", details: { agent.errors }) { trace.last == "post v2 poll" }
        let back = try await box.start(program: [program, "rollback"], settings).ended()
        #expect(back.code == 0 && app == "v1\n", "\(back) \(agent.errors)")
        let again = try await box.start(program: asUser + ["rollback"], settings).ended()
        #expect(again.code == 1 && again.errors.contains("no earlier commit"), "\(again)")
        let named = try await box.start(program: asUser + ["rollback", String(repeating: "1", count: 40)], settings)
            .ended()
        #expect(named.errors.contains("1111111"), "\(named)")
    }

    @Test("exec goes on where a rollback is asked for while the start's POST_DEPLOY fails")
    func askedDuringStart() async throws {
        let settings = failsSlowly()
        _ = try await deploy(1, settings)
        try await box.commit(["app.txt": "v2\n"])
        let exec = try box.start(
            program: [agentBinary, "exec", "--", "sh", "-c", "cat app.txt >> $OUT/app; " + Hooks.await_("end")],
            settings)
        try await until("POST_DEPLOY runs", details: { exec.errors }) { box.has("began") }
        let asked = try box.start("rollback", settings: settings)
        try await until("it waits", details: { asked.errors }) { asked.errors.contains("rolls back") }
        try box.touch("go")
        let ended = try await asked.ended()
        #expect(ended.code == 0 && app == "v1\n", "\(ended) \(exec.errors)")
        try await until("the app runs again", details: { exec.errors }) { box.lines("app") == ["v2", "v1"] }
        try box.touch("end")
        #expect(try await exec.ended().code == 0, "\(exec.errors)")
    }

    @Test(
        "a way back that was noted is gone once, and not where the commit was forced or is tried again",
        arguments: ["check", "force", "retry", "earlier version"])
    func noted(how: String) async throws {
        let settings = settings("symlink", ["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_RETRIES": "0"])
        let ids = try await deploy(1, settings)
        let failed = try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings.merging(["POST_DEPLOY_COMMAND": "exit 1"]) { $1 }).code == 1)
        // As an agent leaves it that is killed between the failure and the way back.
        let file = how == "earlier version" ? "rollback.json" : "way-back.json"
        let note = #"{"commit":"\#(ids[0])","held":"\#(failed)","with_pre":false,"follows_failure":true,"time":1}"#
        try await box.sh("echo '\(note)' > \"$(ls -d state/workspaces/*)/\(file)\"")
        if how == "retry" { #expect(try await box.agent("retry", settings: settings).code == 0) }
        let once = try await box.once(settings, force: how == "force")
        #expect(once.code == 0 && app == (["force", "retry"].contains(how) ? "v2\n" : "v1\n"), "\(once)")
        #expect(try await box.sh("ls state/workspaces/*/*.json 2>/dev/null || true") == "")
        #expect(try await box.once(settings).outcome == "unchanged")
    }

    @Test("exec does not go on with the app of the commit that failed while the way back from it waits for its remote")
    func appOfFailed() async throws {
        let settings = failsSlowly("in-place", before: "rm -rf \(box.state)/workspaces/*/repo.git; ")
        let first = try await deploy(1, settings)[0]
        try box.install(
            "git",
            "[[ \"$*\" != *fetch*\(first)* ]] || { echo 'fatal: unable to access: Connection refused' >&2; exit 128; }\nexec /usr/bin/git \"$@\""
        )
        try await box.commit(["app.txt": "v2\n"])
        let exec = try box.start(program: [agentBinary, "exec", "--", "sleep", "1000"], settings)
        try await until("POST_DEPLOY runs", details: { exec.errors }) { box.has("began") }
        let asked = try box.start("rollback", String(repeating: "1", count: 40), settings: settings)
        try await until("it waits", details: { asked.errors }) { asked.errors.contains("rolls back") }
        try box.touch("go")
        let ended = try await exec.ended()
        #expect(ended.code == 1, "\(ended)")
        _ = try await asked.ended()
    }

    @Test("what was rolled back from stays on record as long as it is held, however little is kept")
    func keptWhileHeld() async throws {
        let settings = settings(
            "in-place", ["AGENT_KEEP": "1", "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict"])
        let ids = try await deploy(2, settings)
        #expect(try await box.agent("rollback", ids[0], settings: settings).code == 0)
        let retried = try await box.agent("retry", settings: settings)
        #expect(retried.code == 0 && retried.output.contains("\(ids[1].prefix(7)) is due again"), "\(retried)")
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.history().map { $0["commit"].string } == [ids[1]])
        try await box.commit(["app.txt": "v3\n"])
        let failed = try await box.once(
            settings.merging(["POST_DEPLOY_COMMAND": "echo why; test $DEPLOY_TRIGGER = rollback"]) { $1 })
        #expect(failed.outcome == "failed" && app == "v2\n", "\(failed)")
        #expect(failed.runs.last?["output_tail"].string == "why\n", "\(failed)")
    }
}

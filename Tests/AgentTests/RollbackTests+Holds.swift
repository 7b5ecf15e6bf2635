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
}

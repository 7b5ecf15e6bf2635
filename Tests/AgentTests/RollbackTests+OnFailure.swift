import Foundation
import Glibc
import Testing

/// `AGENT_ON_FAILURE=rollback`: going back by itself after a failure.
extension RollbackTests {
    @Test(
        "AGENT_ON_FAILURE=rollback brings the commit before back after a strict failure past publishing",
        arguments: ["in-place", "symlink"], ["PRE", "POST"])
    func onFailure(mode: String, hook: String) async throws {
        let failing = settings(
            mode,
            [
                "AGENT_ON_FAILURE": "rollback", "PRE_DEPLOY_GATE": "false", "\(hook)_DEPLOY_MODE": "strict",
                "\(hook)_DEPLOY_COMMAND": "test \"$(cat app.txt)\" = v1",
            ])
        let ids = try await deploy(1, failing)
        try await box.commit(["app.txt": "v2\n"])
        let bad = try await box.head(of: box.work)
        let once = try await box.once(failing)
        #expect(once.code == 1 && once.outcome == "failed" && once.deployment["commit"].string == bad, "\(once)")
        #expect(app == "v1\n")
        let newest = try #require(try await box.history().first)
        #expect(newest["trigger"].string == "rollback" && newest["commit"].string == ids[0])
        #expect(newest["held_commit"].string == bad && newest["status"].string == "succeeded")
        // Its retries do not run, and nothing says that they will.
        let failed = try await box.history()[1]
        #expect(failed["settled"].bool == true && failed["retry_at"].isNull, "\(failed)")
        #expect(once.deployment["settled"].bool == true && once.deployment["retry_at"].isNull, "\(once)")
        #expect(!once.ended.errors.contains("next attempt"), "\(once)")
        #expect(try await box.once(failing).outcome == "unchanged")
        #expect(app == "v1\n")
        try await box.commit(["app.txt": "v1\n"])
        #expect(try await box.once(failing).outcome == "deployed")
    }

    @Test("by itself it goes back although a hook lacks its folder there", arguments: ["in-place", "symlink"])
    func onFailureWithoutFolder(mode: String) async throws {
        let ids = try await deploy(1, ["AGENT_PUBLISH": mode])
        let failing = [
            "AGENT_PUBLISH": mode, "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict",
            "POST_DEPLOY_COMMAND": "exit 1", "POST_DEPLOY_FOLDER": "jobs",
        ]
        let bad = try await box.commit(["app.txt": "v2\n", "jobs/job": "v2\n"])
        let once = try await box.once(failing)
        #expect(once.code == 1 && app == "v1\n", "\(once)")
        let newest = try #require(try await box.history().first)
        #expect(newest["trigger"].string == "rollback" && newest["commit"].string == ids[0], "\(newest)")
        #expect(newest["held_commit"].string == bad && newest["status"].string == "failed", "\(newest)")
        #expect(newest["error_message"].string?.contains("jobs") == true, "\(newest)")
        #expect(try await box.once(failing).outcome == "unchanged")
        #expect(app == "v1\n")
    }

    @Test("by itself it goes back as soon as a remote that is away has what it needs")
    func onFailureAway() async throws {
        let failing = settings(
            "in-place",
            [
                "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict", "ROOT": box.root,
                "POST_DEPLOY_COMMAND": """
                test "$(cat app.txt)" = v1 && exit
                mv $ROOT/up.git $ROOT/away.git; rm -rf $ROOT/state/workspaces/*/repo.git; exit 1
                """,
            ])
        let ids = try await deploy(1, failing)
        let bad = try await box.commit(["app.txt": "v2\n"])
        let once = try await box.once(failing)
        #expect(once.code == 1 && app == "v2\n" && once.ended.errors.contains("the rollback failed"), "\(once)")
        let away = try await box.once(failing)
        #expect(away.code == 69 && app == "v2\n", "\(away)")
        try await box.sh("mv away.git up.git")
        let back = try await box.once(failing)
        #expect(back.deployment["trigger"].string == "rollback" && app == "v1\n", "\(back)")
        #expect(back.deployment["commit"].string == ids[0] && back.deployment["held_commit"].string == bad, "\(back)")
        #expect(try await box.once(failing).outcome == "unchanged")
    }

    @Test(
        "killed between the failure and the way back, the next start goes it; with exec the app goes on with what was there"
    )
    func onFailureKilled() async throws {
        let failing = settings(
            "symlink",
            [
                "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict",
                "POST_DEPLOY_COMMAND": """
                if [ "$DEPLOY_TRIGGER" = rollback ]; then touch $OUT/began; test -e $OUT/go || sleep 1000; fi
                test "$(cat app.txt)" != v3 || until test -s $OUT/app; do sleep 0.02; done
                test "$(cat app.txt)" = v1
                """,
            ])
        let ids = try await deploy(1, failing)
        try await box.commit(["app.txt": "v2\n"])
        let agent = try box.start("run", settings: failing)
        try await until("the rollback runs", details: { agent.errors }) { box.has("began") }
        try await agent.send(SIGKILL)
        _ = try await agent.ended()
        try box.touch("go")
        let once = try await box.once(failing)
        #expect(
            once.deployment["trigger"].string == "rollback" && once.deployment["commit"].string == ids[0], "\(once)")
        #expect(app == "v1\n")
        #expect(try await box.once(failing).outcome == "unchanged")
        // A start whose commit fails, beside an app.
        try await box.commit(["app.txt": "v3\n"])
        let program = try box.start(
            program: [
                agentBinary, "exec", "--", "sh", "-c", "cat app.txt >> $OUT/app; " + Hooks.await_("end") + "exit 7",
            ], failing)
        try await until("the app runs again", details: { program.errors }) { box.lines("app") == ["v3", "v1"] }
        try await until("it has rolled back", details: { program.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
        try box.touch("end")
        #expect(try await program.ended().code == 7, "\(program.errors)")
    }

    @Test("without an earlier commit there is nothing to roll back to; before publishing nothing is rolled back")
    func nothingBefore() async throws {
        let failing = settings(
            "symlink", ["AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict", "POST_DEPLOY_COMMAND": "exit 1"])
        let first = try await box.once(failing)
        #expect(first.code == 1 && first.ended.errors.contains("no earlier commit to roll back to"), "\(first)")
        let gated = settings("symlink", ["AGENT_ON_FAILURE": "rollback", "PRE_DEPLOY_COMMAND": "exit 1"])
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(gated).code == 1)
        #expect(try await box.history().allSatisfy { $0["trigger"].string != "rollback" })
    }
}

import Foundation
import Glibc
import Testing

/// `agent exec` where something came before: a commit that failed, a spec that came with the commit, an app that runs.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct ExecAgainTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func exec(_ settings: [String: String] = [:], _ app: String) throws -> Program {
        try box.start(program: [agentBinary, "exec", "--", "sh", "-c", app], settings)
    }

    @Test(
        "a container that starts again does not start the app for a commit that failed",
        arguments: ["unlimited", "0"], [true, false])
    func failedBefore(retries: String, isGood: Bool) async throws {
        // With a good commit before it, the workspace holds that one.
        if isGood { #expect(try await box.once().outcome == "deployed") }
        try await box.commit()
        let settings = [
            "AGENT_ON_START": "changed", "PRE_DEPLOY_COMMAND": "echo x >> $OUT/pre; exit 1",
            "PRE_DEPLOY_RETRIES": retries, "GITHUB_SYNC_INTERVAL": "1h",
        ]
        #expect(try await exec(settings, "touch $OUT/app").ended().code == 1)
        let again = try await exec(settings, "touch $OUT/app").ended()
        #expect(again.code == 1 && !box.has("app") && again.errors.contains("failed"), "\(again)")
        #expect(box.lines("pre").count == 1, "the second start waits for its time")
    }

    @Test("settings of exec count from the commit's own spec, also at the very first start")
    func specOfFirstCommit() async throws {
        try await box.commit([
            "appspec.yaml": """
            envs:
            - {key: AGENT_KEEP_ALIVE, value: "true"}
            - {key: AGENT_STOP_GRACE, value: 300ms}

            """
        ])
        let program = try exec(
            ["GITHUB_SYNC_INTERVAL": "200ms"],
            "echo x >> $OUT/starts; test $(wc -l < $OUT/starts) -gt 1 || exit 9; trap '' TERM; touch $OUT/up; "
                + "while :; do sleep 0.05; done")
        try await until("the app has failed", details: { program.errors }) {
            program.errors.contains("AGENT_KEEP_ALIVE: the container stays up")
        }
        try await box.commit()
        try await until("the app runs again", details: { program.errors }) { box.has("up") }
        let asked = ContinuousClock.now
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 137)
        #expect(ContinuousClock.now - asked < .seconds(15), "the grace of 20 seconds was waited for")
    }

    @Test("settings of a commit that failed do not count for the app, which is another commit's")
    func specOfFailedCommit() async throws {
        let program = try exec(["GITHUB_SYNC_INTERVAL": "200ms"], Hooks.await_("go") + "exit 9")
        try await box.atRest(after: 1, program)
        try await box.commit([
            "appspec.yaml":
                "envs: [{key: AGENT_KEEP_ALIVE, value: 'true'}, {key: PRE_DEPLOY_COMMAND, value: exit 1}]\n"
        ])
        try await until("it has failed", details: { program.errors }) {
            try await box.history().first?["status"].string == "failed"
        }
        try box.touch("go")
        #expect(try await program.ended().code == 9)
    }

    @Test("a signal while the app is restarted ends neither the agent nor the next app")
    func signalDuringRestart() async throws {
        let program = try exec(
            ["AGENT_ON_DEPLOY": "restart", "GITHUB_SYNC_INTERVAL": "200ms"],
            "trap 'touch $OUT/ending; \(Hooks.await_("go"))exit 0' TERM; echo x >> $OUT/starts; "
                + "while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.lines("starts").count == 1 }
        try await box.commit()
        try await until("the app is being ended", details: { program.errors }) { box.has("ending") }
        try await program.send(SIGHUP)
        try box.touch("go")
        try await until("the app runs again", details: { program.errors }) { box.lines("starts").count == 2 }
        try await program.send(SIGTERM)
        _ = try await program.ended()
        #expect(box.survivors().isEmpty)
    }

    @Test("POST_DEPLOY waits for the app at every commit, and the wait is no part of its run")
    func waitsAtEveryCommit() async throws {
        let program = try exec(
            [
                "POST_DEPLOY_COMMAND": "true", "POST_DEPLOY_WAIT_FOR": "4500ms", "POST_DEPLOY_TIMEOUT": "4s",
                "GITHUB_SYNC_INTERVAL": "200ms",
            ], "while :; do sleep 0.05; done")
        try await box.atRest(after: 1, program)
        try await box.commit()
        try await box.atRest(after: 2, program)
        for deployment in try await box.history() {
            let shown = try await box.json("show", "\(deployment["id"])")
            #expect((shown["duration_ms"].int ?? 0) >= 4500, "\(shown)")
            #expect((shown["runs"][0]["duration_ms"].int ?? .max) < 4000, "\(shown)")
            #expect(shown["runs"][0]["status"].string == "succeeded")
        }
    }

    @Test("an unreachable remote is tried again until AGENT_START_TIMEOUT has passed")
    func startTimeout() async throws {
        let begin = ContinuousClock.now
        let ended = try await exec(
            ["GITHUB_REPO_URL": "file://" + box.root + "/none.git", "AGENT_START_TIMEOUT": "1900ms"], "touch $OUT/app"
        ).ended()
        #expect(ended.code == 69 && !box.has("app"), "\(ended)")
        #expect(ContinuousClock.now - begin >= .milliseconds(1900))
    }
}

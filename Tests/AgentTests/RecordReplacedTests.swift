import Foundation
import Glibc
import TestSupport
import Testing

/// The record's file is removed or replaced under an agent at work.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct RecordReplacedTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func task(_ command: String) -> [String: String] {
        ["deploy.yaml": "tasks:\n  - id: once-v1\n    run: |\n      \(command)\n"]
    }

    @Test("the agent says so and goes on in the file that is there, by which others see what it does")
    func removed() async throws {
        let agent = try box.start("run")
        try await until("it is deployed", details: { agent.errors }) { agent.errors.contains("deployed ") }
        try await box.sh("rm state/ledger.sqlite*")
        try await box.commit(
            task("echo begin >> $OUT/task; while [ ! -e $OUT/go ]; do sleep 0.02; done; echo end >> $OUT/task"))
        try await until("the task runs", details: { agent.errors }) { box.lines("task") == ["begin"] }
        #expect(agent.errors.contains("was removed or replaced while it was open"), "\(agent.errors)")
        #expect(try await box.history().first?["status"].string == "running")
        let byHand = try box.start("tasks", "run")
        try await until("it waits", details: { byHand.errors }) { byHand.errors.contains("waiting: ") }
        try box.touch("go")
        _ = try await byHand.ended()
        #expect(box.lines("task") == ["begin", "end"])
        try await until("it is on record") { try await box.history().first?["status"].string == "succeeded" }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(try await box.once().outcome == "unchanged")
    }

    @Test("a task that runs when the file goes is not run a second time beside itself")
    func duringTask() async throws {
        try await box.commit(
            task(
                "mkdir $OUT/one || echo twice >> $OUT/task; echo begin >> $OUT/task; while [ ! -e $OUT/go ]; do sleep 0.02; done; rmdir $OUT/one"
            ))
        let agent = try box.start("run")
        try await until("the task runs", details: { agent.errors }) { box.lines("task") == ["begin"] }
        try await box.sh("rm state/ledger.sqlite*")
        let byHand = try box.start("tasks", "run")
        try await until("it waits", details: { byHand.errors }) { byHand.errors.contains("by another process") }
        try box.touch("go")
        _ = try await byHand.ended()
        try await until("the commit is deployed again", details: { agent.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
        #expect(!box.lines("task").contains("twice"), "\(agent.errors)")
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test("a copy in its place is taken as at a start, and `agent retry` reaches the agent")
    func copyInPlace() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": "echo run >> $OUT/pre; test -e $OUT/good", "PRE_DEPLOY_RETRIES": "0",
            "GITHUB_SYNC_INTERVAL": "1",
        ]
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh("cp state/ledger.sqlite copy")
        let agent = try box.start("run", settings: settings)
        try await until("it waits", details: { agent.errors }) { agent.errors.contains("retries are used up") }
        try await box.sh("rm state/ledger.sqlite*; mv copy state/ledger.sqlite")
        try await until("it is noticed", details: { agent.errors }) { agent.errors.contains("removed or replaced") }
        try box.touch("good")
        let retry = try await box.agent("retry", settings: settings)
        #expect(retry.code == 0, "\(retry)")
        try await until("it is tried again", details: { agent.errors }) { agent.errors.contains("deployed ") }
        #expect(box.lines("pre") == ["run", "run"])
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test(
        "a file that goes during a deployment leaves nothing half recorded: the commit is deployed again, in the new one"
    )
    func duringDeployment() async throws {
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND":
                "echo pre >> $OUT/ran; test -e $OUT/gone || rm \(box.state)/ledger.sqlite*; touch $OUT/gone",
            "POST_DEPLOY_COMMAND": "echo post >> $OUT/ran",
        ])
        #expect(once.code == 0 && once.outcome == "deployed", "\(once)")
        #expect(once.ended.errors.contains("was removed or replaced since it was opened"), "\(once)")
        #expect(box.lines("ran") == ["pre", "pre", "post"])
        #expect(try await box.history().map { $0["status"].string } == ["succeeded"])
    }
}

import Foundation
import Glibc
import Testing

/// Root beside the agent of another user.
@Suite(
    .timeLimit(.minutes(2)), .fewAtOnce, .enabled(if: geteuid() == 0, "only root can start programs as another user"))
struct OtherUserTests {
    let box: Box
    private var program: String { box.root + "/deploy-agent" }

    init() async throws {
        box = try await Box()
        try await box.sh("cp '\(agentBinary)' deploy-agent; chmod 755 .; mkdir srv state")
        try await box.sh("chown 65534:65534 . out srv state")
    }

    private func settings(_ more: [String: String] = [:]) -> [String: String] {
        [
            "WORKSPACE_PATH": box.root + "/srv/app", "PRE_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/pre",
            "POST_DEPLOY_COMMAND": "exit $(cat $OUT/code 2>/dev/null || echo 0)", "POST_DEPLOY_MODE": "strict",
        ].merging(more) { $1 }
    }

    private func asUser(_ arguments: String..., more: [String: String] = [:]) async throws -> Ended {
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program]
        return try await box.start(program: user + arguments, settings(more)).ended()
    }

    private func asRoot(_ arguments: [String], more: [String: String] = [:]) async throws -> Ended {
        try await box.start(program: [program] + arguments, settings(more)).ended()
    }

    /// Files of root's in the service's state.
    private func roots() async throws -> String { try await box.sh("find state srv -user 0") }

    @Test(
        "what deploys or runs something is refused before anything has run, and the service goes on",
        arguments: [
            ["run-once"], ["run-once", "--force"], ["run"], ["exec", "--", "true"], ["tasks", "run"], ["rollback"],
        ],
        ["in-place", "symlink"])
    func refused(arguments: [String], mode: String) async throws {
        let mode = ["AGENT_PUBLISH": mode]
        for round in 1...2 {
            try await box.commit(["app.txt": "\(round)\n"])
            let first = try await asUser("run-once", more: mode)
            #expect(first.code == 0, "\(first)")
        }
        try await box.commit(["app.txt": "3\n"])
        let ended = try await asRoot(arguments, more: mode)
        #expect(ended.code == 78 && ended.errors.contains("belongs to another user"), "\(ended)")
        #expect(ended.errors.contains("setpriv --reuid=65534 --regid=65534"), "\(ended)")
        #expect(box.lines("pre").count == 2)
        #expect(try await roots() == "")
        let next = try await asUser("run-once", more: mode)
        #expect(next.code == 0 && box.text(box.root + "/srv/app/app.txt") == "3\n", "\(next)")
    }

    @Test("in a directory where nobody has worked yet root works, and the service is refused then, with how to go on")
    func first() async throws {
        let first = try await asRoot(["run-once"])
        #expect(first.code == 0, "\(first)")
        try await box.commit(["app.txt": "2\n"])
        let refused = try await asUser("run-once")
        #expect(refused.code == 78 && refused.errors.contains("AGENT_STATE_DIR"), "\(refused)")
        #expect(box.lines("pre").count == 1)
    }

    @Test("where the workspace's own folder is another user's, whoever made the directory")
    func folder() async throws {
        #expect(try await asUser("run-once").code == 0)
        try await box.sh("chown 0:0 state; chmod 777 state")
        let ended = try await asRoot(["run-once", "--force"])
        #expect(ended.code == 78 && ended.errors.contains("/workspaces/app-"), "\(ended)")
        // And the other way round: root's own work in a directory that somebody has made for it.
        try await box.sh("chown -R 0:0 state srv; chown 65534 state")
        #expect(try await asRoot(["run-once", "--force"]).code == 0)
    }

    @Test(
        "what only reads, or notes something in the record, works and leaves nothing that the service cannot use",
        arguments: [
            ["status"], ["history"], ["show", "1"], ["logs", "1"], ["check"], ["ledger", "check"], ["retry"],
            ["tasks", "list"], ["tasks", "done", "t-v1"], ["tasks", "done", "u-v1", "--yes"],
            ["tasks", "reset", "t-v1", "--yes"],
        ])
    func works(arguments: [String]) async throws {
        try await box.commit(["deploy.yaml": "tasks:\n  - id: t-v1\n    run: exit 1\n    retries: 0\n"])
        #expect(try await asUser("run-once").code == 0)
        try box.write("1", to: box.out + "/code")
        try await box.commit(["app.txt": "2\n"])
        #expect(try await asUser("run-once").code == 1)
        let ended = try await asRoot(arguments)
        #expect(ended.code == 0, "\(ended)")
        #expect(try await roots() == "")
        try box.write("0", to: box.out + "/code")
        let next = try await asUser("run-once")
        #expect(next.code == 0 && box.text(box.root + "/srv/app/app.txt") == "2\n", "\(next)")
    }

    @Test(
        "the record that a command makes is the service's to use, too",
        arguments: [["tasks", "done", "u-v1", "--yes"], ["status"], ["tasks", "list"], ["check"]])
    func makesRecord(arguments: [String]) async throws {
        _ = try await asRoot(arguments)
        #expect(try await roots() == "")
        #expect(try await asUser("run-once").code == 0)
    }

    @Test("looking at a record that is being written leaves nothing of root's")
    func beside() async throws {
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program]
        let agent = try box.start(
            program: user + ["run"], settings(["PRE_DEPLOY_COMMAND": "touch $OUT/ready; " + Hooks.await_("go")]))
        try await until("the hook runs", details: { agent.errors }) { box.has("ready") }
        for arguments in [["status"], ["history"], ["tasks", "done", "u-v1", "--yes"]] {
            #expect(try await asRoot(arguments).code == 0)
        }
        #expect(try await roots() == "")
        try await agent.send(SIGKILL)
        _ = try await agent.ended()
        #expect(try await asRoot(["status"]).code == 0)
        #expect(try await roots() == "")
        try box.touch("go")
        let once = try await asUser("run-once")
        #expect(once.code == 0, "\(once)")
    }
}

import Foundation
import Testing

/// App specs that lie elsewhere, say something late, or cannot be resolved.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct SpecTests {
    let box: Box

    init() async throws { box = try await Box() }

    @Test("a spec outside the checkout counts from the first clone on, and a change of it at the next check")
    func outside() async throws {
        let spec = box.root + "/spec.yaml"
        func write(_ seconds: String, _ word: String) throws {
            try box.write(
                """
                envs:
                - {key: GITHUB_REPO_URL, value: "file://\(box.upstream)"}
                - {key: GITHUB_SYNC_INTERVAL, value: "\(seconds)"}
                - {key: POST_DEPLOY_COMMAND, value: "echo \(word) >> $OUT/post"}

                """, to: spec)
        }
        try write("300ms", "one")
        let settings = ["AGENT_APPSPEC": spec, "GITHUB_REPO_URL": "", "GITHUB_SYNC_INTERVAL": ""]
        let program = try box.start("run", settings: settings)
        try await until("it has deployed", details: { program.errors }) { box.lines("post") == ["one"] }
        try write("100ms", "two")
        let changed = try await box.commit()
        try await until("the next commit is deployed", details: { program.errors }) {
            box.lines("post") == ["one", "two"]
        }
        #expect(try await box.head() == changed)
        let status = try await box.json("check", settings: settings)
        let interval = status["settings"].items.first { $0["name"].string == "GITHUB_SYNC_INTERVAL" }
        #expect(interval?["value"].string == "100ms", "\(status)")
    }

    @Test("a spec outside the checkout that is not there is an error, before anything is cloned")
    func outsideMissing() async throws {
        let settings = ["AGENT_APPSPEC": box.root + "/none.yaml"]
        #expect(try await box.once(settings).code == 78)
        let check = try await box.agent("check", settings: settings)
        #expect(check.code == 78 && check.errors.contains("none.yaml"), "\(check)")
    }

    @Test("a commit's spec that says where the agent works comes too late: a warning, and the commit is deployed")
    func tooLate() async throws {
        try await box.commit([
            "appspec.yaml": """
            envs:
            - {key: WORKSPACE_PATH, value: "\(box.root)/other"}
            - {key: POST_DEPLOY_COMMAND, value: "pwd > $OUT/post"}

            """
        ])
        try await box.cloneWorkspace()
        let once = try await box.start(
            program: ["sh", "-c", "cd ws && exec \"$0\" run-once --json", agentBinary], ["WORKSPACE_PATH": ""]
        ).ended()
        #expect(once.code == 0 && box.lines("post") == [box.workspace], "\(once)")
        #expect(once.errors.contains("WORKSPACE_PATH") && once.errors.contains("too late"), "\(once)")
    }

    @Test("a state directory that only a later commit names: a warning, and the record stays where it is")
    func lateStateDirectory() async throws {
        let settings = ["XDG_STATE_HOME": box.root + "/xdg", "AGENT_STATE_DIR": ""]
        try await box.commit([
            "appspec.yaml": "envs: [{key: AGENT_STATE_DIR, value: \"\(box.root)/elsewhere\"}]\n"
        ])
        let once = try await box.start(
            program: [agentBinary, "run-once", "--json", "--ledger", "sqlite:\(box.root)/record.sqlite"], settings
        ).ended()
        #expect(
            once.code == 0 && once.errors.contains("AGENT_STATE_DIR") && once.errors.contains("too late"), "\(once)")
        #expect(!FileManager.default.fileExists(atPath: box.root + "/elsewhere"))
    }

    @Test("a hook whose command cannot be resolved is left out, with a warning that cannot be overlooked")
    func unresolvedCommand() async throws {
        try await box.commit([
            "appspec.yaml": """
            envs:
            - {key: PRE_DEPLOY_COMMAND, value: "touch $OUT/pre ${NOT_SET_ANYWHERE}"}
            - {key: POST_DEPLOY_COMMAND, value: "touch $OUT/post"}

            """
        ])
        let once = try await box.once()
        #expect(once.outcome == "deployed" && box.has("post") && !box.has("pre"), "\(once)")
        #expect(once.ended.errors.contains("PRE_DEPLOY DOES NOT RUN"), "\(once)")
    }

    @Test("PRE_DEPLOY may make the folder that POST_DEPLOY runs in, also where the workspace itself is watched")
    func folderMadeByPre() async throws {
        try await box.cloneWorkspace()
        let once = try await box.once([
            "GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": "mkdir dist", "POST_DEPLOY_COMMAND": "pwd > $OUT/post",
            "POST_DEPLOY_FOLDER": "dist",
        ])
        #expect(once.outcome == "deployed" && box.lines("post") == [box.workspace + "/dist"], "\(once)")
        let pre = try await box.once(
            ["GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": "true", "PRE_DEPLOY_FOLDER": "none"], force: true)
        #expect(pre.code == 78, "\(pre)")
    }

    @Test("a store that vanishes under a running agent is fetched anew")
    func storeVanishes() async throws {
        let program = try box.start(
            "run",
            settings: [
                "PRE_DEPLOY_COMMAND": "echo x >> $OUT/pre; test -e $OUT/ok", "GITHUB_SYNC_INTERVAL": "200ms",
            ])
        try await until("it has failed", details: { program.errors }) {
            try await box.history().first?["status"].string == "failed"
        }
        try await box.sh("mv state/workspaces/*/repo.git gone.git")
        try box.touch("ok")
        try await until("it is deployed", details: { program.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
    }

    @Test("a store that is damaged while the remote is away is fetched anew once it is back")
    func storeDamagedDuringOutage() async throws {
        let program = try box.start("run", settings: ["POST_DEPLOY_COMMAND": "true", "GITHUB_SYNC_INTERVAL": "200ms"])
        try await box.atRest(after: 1, program)
        try await box.sh("mv up.git away.git")
        try await until("it was missed twice", details: { program.errors }) {
            program.errors.components(separatedBy: "tried again at the next check").count > 2
        }
        try await box.sh(
            "find state/workspaces/*/repo.git/objects -type f -exec truncate -s 0 {} +; mv away.git up.git")
        let later = try await box.commit()
        try await until("the next commit is deployed", details: { program.errors }) {
            // On record it is before the first file moves.
            let newest = try await box.history().first
            return newest?["commit"].string == later && newest?["status"].string == "succeeded"
        }
        #expect(try await box.head() == later)
    }

    @Test("a state directory below a workspace that has another name is seen to be below it")
    func stateBelowLinkedWorkspace() async throws {
        try box.write("", to: box.root + "/real/.keep")
        try FileManager.default.removeItem(atPath: box.root + "/real/.keep")
        symlink(box.root + "/real", box.root + "/link")
        let once = try await box.once([
            "WORKSPACE_PATH": box.root + "/link", "AGENT_STATE_DIR": box.root + "/link/.agent",
        ])
        #expect(once.outcome == "deployed", "\(once)")
    }

    @Test("a record of which cannot be told whether it is there is an error, not an empty one")
    func unreadableRecord() async throws {
        try box.write("x", to: box.root + "/file")
        let history = try await box.agent("history", "--ledger", "sqlite:\(box.root)/file/ledger.sqlite")
        #expect(history.code == 69 && history.errors.contains("/file/ledger.sqlite"), "\(history)")
    }
}

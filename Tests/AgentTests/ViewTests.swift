import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct ViewTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let deploymentKeys: Set = [
        "id", "app", "commit", "subject", "author", "ref", "previous_commit", "trigger", "attempt", "status",
        "warnings", "host", "started_at",
        "completed_at", "duration_ms", "error_message",
    ]
    private static let runKeys: Set = [
        "id", "hook", "scope", "fence", "adopted_run", "command", "folder", "mode", "timeout_ms", "attempt", "status",
        "exit_code", "signal",
        "started_at", "completed_at",
        "duration_ms", "log", "output_tail", "error_message",
    ]

    private func isTime(_ value: JSON) -> Bool {
        value.string?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil
    }

    @Test(
        "a deployment has every key, absent values are null",
        arguments: ["true", "exit 1", "sleep 100", "kill -9 $$", "exit 75"])
    func keys(_ command: String) async throws {
        try await box.commit(["hooks/x": ""], "subject line\n\nbody")
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND": command, "PRE_DEPLOY_TIMEOUT": "4500ms", "PRE_DEPLOY_FOLDER": "hooks",
            "AGENT_APP": "shop", "AGENT_HOST": "here",
        ])
        #expect(once.json.keys == ["outcome", "deployment", "tasks", "error_message", "error_kind"])
        for key in ["tasks", "error_message", "error_kind"] { #expect(once.json[key].isNull) }
        let shown = try await box.json(
            "show", "\(once.deployment["id"])", settings: ["AGENT_APP": "shop", "AGENT_HOST": "here"])
        let listed = try await box.json("history", settings: ["AGENT_APP": "shop", "AGENT_HOST": "here"])[0]
        #expect(shown == once.deployment)
        #expect(shown.keys.isSuperset(of: Self.deploymentKeys.union(["runs"])), "\(shown.keys)")
        #expect(listed.keys.isSuperset(of: Self.deploymentKeys) && !listed.keys.contains("runs"))
        #expect(shown.keys.allSatisfy { $0.wholeMatch(of: /[a-z][a-z0-9_]*/) != nil })
        #expect(
            shown["app"].string == "shop" && shown["host"].string == "here" && shown["subject"].string == "subject line"
        )
        #expect(shown["author"].string == "Ada" && shown["ref"].string == "main" && shown["previous_commit"].isNull)
        #expect(shown["commit"].string?.count == 40 && shown["trigger"].string == "manual" && shown["attempt"].int == 1)
        #expect(isTime(shown["started_at"]) && isTime(shown["completed_at"]) && shown["duration_ms"].int != nil)
        let run = shown["runs"][0]
        #expect(run.keys.isSuperset(of: Self.runKeys), "\(run.keys)")
        #expect(
            run["hook"].string == "PRE_DEPLOY" && run["command"].string == command && run["folder"].string == "hooks")
        #expect(run["mode"].string == "strict" && run["timeout_ms"].int == 4500)
        #expect(run["scope"].string == "host" && run["fence"].isNull && run["adopted_run"].isNull)
        let expected: (status: String, code: JSON, signal: JSON, deployment: String) =
            switch command {
            case "true": ("succeeded", .number(0), .null, "succeeded")
            case "exit 1": ("failed", .number(1), .null, "failed")
            case "exit 75": ("deferred", .number(75), .null, "deferred")
            case "kill -9 $$": ("failed", .null, .number(9), "failed")
            default: ("timed_out", .null, .number(15), "failed")
            }
        #expect(
            run["status"].string == expected.status && run["exit_code"] == expected.code
                && run["signal"] == expected.signal, "\(run)")
        #expect(shown["status"].string == expected.deployment)
        #expect(
            run["error_message"].isNull == (command == "true") && shown["error_message"].isNull == (command == "true"),
            "\(shown)")
    }

    @Test("a running deployment's absent values are null")
    func runningKeys() async throws {
        let agent = try box.start("run-once", settings: ["PRE_DEPLOY_COMMAND": Hooks.await_("go")])
        try await until("it runs") { try await box.agent("history", "--json").output.contains("running") }
        let shown = try await box.json("show", "1")
        for key in ["completed_at", "duration_ms", "error_message"] {
            #expect(shown[key].isNull && shown["runs"][0][key].isNull, "\(key)")
        }
        #expect(shown["runs"][0]["status"].string == "running" && shown["runs"][0]["exit_code"].isNull)
        let lock = try await box.json("status")["lock"]
        #expect(try await lock["pid"].int == Int(agent.started()))
        try box.touch("go")
        #expect(try await agent.ended().code == 0)
    }

    @Test("history filters and limits, newest first")
    func history() async throws {
        for number in 0..<4 {
            if number > 0 { try await box.commit(["app.txt": "\(number)"], "number \(number)") }
            _ = try await box.once(["PRE_DEPLOY_COMMAND": "test \(number) != 2", "PRE_DEPLOY_RETRIES": "0"])
        }
        let all = try await box.history()
        #expect(all.map { $0["subject"].string } == ["number 3", "number 2", "number 1", "first"])
        #expect(try await box.json("history", "--limit", "2") == .array(Array(all.prefix(2))))
        #expect(try await box.json("history", "--status", "failed") == .array([all[1]]))
        #expect(try await box.json("history", "--status", "running") == .array([]))
        let id = try #require(all[2]["commit"].string)
        #expect(try await box.json("history", "--commit", String(id.prefix(6))) == .array([all[2]]))
        #expect(try await box.json("history", "--commit", id.uppercased()) == .array([all[2]]))
        #expect(try await box.json("show", String(id.prefix(4)))["id"] == all[2]["id"])
        let text = try await box.agent("history").output.split(separator: "\n")
        #expect(text.count == 5 && text[1].contains("number 3") && text[2].contains("failed"))
    }

    @Test("before the first deployment every view is empty and creates nothing")
    func nothingYet() async throws {
        #expect(try await box.json("history") == .array([]))
        let status = try await box.json("status")
        #expect(
            status["last_deployment"].isNull && status["commit"].isNull && status["lock"].isNull
                && status["next_check"].isNull, "\(status)")
        #expect(try await box.agent("history").code == 0)
        #expect(try await box.agent("status").code == 0)
        #expect(try await box.agent("show", "1").code == 1)
        #expect(try await box.agent("check").code == 0)
        #expect(access(box.state, F_OK) != 0 && access(box.workspace, F_OK) != 0)
    }

    @Test("looking at the record does not change it by a byte")
    func viewsOnlyLook() async throws {
        #expect(try await box.once(["POST_DEPLOY_COMMAND": "echo x"]).outcome == "deployed")
        let before = try await box.fingerprint(box.state)
        for command in [["status"], ["history"], ["show", "1"], ["logs", "1"], ["check"]] {
            #expect(try await box.start(program: [agentBinary] + command).ended().code == 0)
        }
        #expect(try await box.fingerprint(box.state) == before)
    }

    @Test("status says what is next, why, and who works")
    func status() async throws {
        let agent = try box.start("run", settings: ["PRE_DEPLOY_COMMAND": "exit 3", "GITHUB_SYNC_INTERVAL": "1h"])
        try await until("the next check is known") { try await box.json("status")["next_check"].string != nil }
        let status = try await box.json("status")
        let pid = try await agent.started()
        #expect(status["lock"]["pid"].int == Int(pid) && status["lock"]["command"].string == "run")
        #expect(isTime(status["next_check"]) && isTime(status["last_check"]))
        #expect(status["last_deployment"]["status"].string == "failed")
        let text = try await box.agent("status").output
        #expect(text.contains("\(pid)") && text.contains("next check") && text.contains("exit code 3"), "\(text)")
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(try await box.json("status")["lock"].isNull)
    }

    @Test("check prints every setting with its source, secrets masked, and runs nothing")
    func check() async throws {
        try await box.commit([
            "appspec.yaml":
                "name: shop\nenvs:\n  - {key: PRE_DEPLOY_TIMEOUT, value: 5m}\n  - {key: PRE_DEPLOY_MODE, value: lenient}\n"
        ])
        try await box.cloneWorkspace()
        let settings = [
            "GITHUB_TOKEN": "tokenvalue12345", "PRE_DEPLOY_COMMAND": "touch $OUT/ran", "PRE_DEPLOY_MODE": "strict",
        ]
        let json = try await box.json("check", "--log-level", "debug", settings: settings)
        let entries = Dictionary(uniqueKeysWithValues: json["settings"].items.map { ($0["name"].string ?? "", $0) })
        #expect(entries["PRE_DEPLOY_TIMEOUT"]?["value"].string == "5m")
        #expect(entries["PRE_DEPLOY_TIMEOUT"]?["source"].string == "appspec.yaml line 3")
        #expect(
            entries["PRE_DEPLOY_MODE"]?["value"].string == "strict"
                && entries["PRE_DEPLOY_MODE"]?["source"].string == "environment")
        #expect(entries["AGENT_LOG_LEVEL"]?["source"].string == "option --log-level")
        #expect(entries["GITHUB_TOKEN"]?["value"].string == "***")
        #expect(
            entries["AGENT_GIT_TIMEOUT"]?["value"].isNull == true
                && entries["AGENT_GIT_TIMEOUT"]?["source"].string == "default")
        let names: Set = [
            "WORKSPACE_PATH", "GITHUB_REPO_URL", "GITHUB_BRANCH", "GITHUB_TOKEN", "GITHUB_TOKEN_FILE",
            "GITHUB_SYNC_INTERVAL", "GITHUB_REPO_FOLDER",
            "PRE_DEPLOY_COMMAND", "PRE_DEPLOY_FOLDER", "PRE_DEPLOY_TIMEOUT", "PRE_DEPLOY_MODE", "PRE_DEPLOY_RETRIES",
            "PRE_DEPLOY_REPO_URL",
            "POST_DEPLOY_COMMAND", "POST_DEPLOY_FOLDER", "POST_DEPLOY_TIMEOUT", "POST_DEPLOY_MODE",
            "POST_DEPLOY_RETRIES", "POST_DEPLOY_REPO_URL",
            "PRE_DEPLOY_GATE", "AGENT_GIT_TIMEOUT", "AGENT_KILL_GRACE", "AGENT_SHELL", "AGENT_STATE_DIR",
            "AGENT_LEDGER_URL", "AGENT_APP",
            "AGENT_HOST", "AGENT_APPSPEC", "AGENT_SERVICE", "AGENT_LOG_FORMAT", "AGENT_LOG_LEVEL", "AGENT_KEEP",
        ]
        #expect(names.subtracting(entries.keys).isEmpty, "\(names.subtracting(entries.keys))")
        let text = try await box.agent("check", settings: settings)
        #expect(text.code == 0 && !text.output.contains("tokenvalue12345") && names.allSatisfy(text.output.contains))
        #expect(!box.has("ran") && access(box.state, F_OK) != 0)
    }

    @Test(
        "colour only on a terminal, never with NO_COLOR",
        arguments: [("terminal", ""), ("terminal", "1"), ("file", "")])
    func colour(_ kind: String, _ noColour: String) async throws {
        let command = "\(agentBinary) run-once; \(agentBinary) history; \(agentBinary) status; \(agentBinary) check"
        let program =
            kind == "terminal" ? ["/usr/bin/script", "-qec", command, "/dev/null"] : ["/bin/sh", "-c", command]
        let ended = try await box.start(
            program: program, ["TERM": "xterm-256color", "NO_COLOR": noColour, "PRE_DEPLOY_COMMAND": "exit 1"]
        ).ended()
        let all = ended.output + ended.errors
        #expect(all.contains("exit code 1"), "\(ended)")
        #expect(all.contains("\u{1B}[") == (kind == "terminal" && noColour.isEmpty), "\(ended)")
    }

    @Test("control characters in a subject or in output do not reach the terminal")
    func controlCharacters() async throws {
        try await box.commit([:], "evil \u{1B}]0;title\u{07} \u{1B}[2J end")
        let ended = try await box.agent(
            "run-once", settings: ["PRE_DEPLOY_COMMAND": "printf '\\033[2J\\033]0;x\\007visible\\n'; exit 1"])
        var all = ended.output + ended.errors
        for command in [["history"], ["show", "1"], ["status"]] {
            all += try await box.start(program: [agentBinary] + command).ended().output
        }
        #expect(!all.contains("\u{1B}") && !all.contains("\u{07}"), "\(all.debugDescription)")
        #expect(all.contains("visible") && all.contains("end"))
    }

    @Test("options win over the environment", arguments: ["--workspace", "--state-dir", "--ledger"])
    func options(_ option: String) async throws {
        let arguments: [String]
        switch option {
        case "--workspace": arguments = [option, box.root + "/elsewhere"]
        case "--state-dir": arguments = [option, box.root + "/elsewhere"]
        default: arguments = [option, "sqlite:\(box.root)/elsewhere"]
        }
        let ended = try await box.start(program: [agentBinary, "run-once"] + arguments).ended()
        #expect(ended.code == 0 && access(box.root + "/elsewhere", F_OK) == 0, "\(ended)")
        #expect((access(box.workspace, F_OK) == 0) == (option != "--workspace"))
        #expect((access(box.state + "/ledger.sqlite", F_OK) == 0) == (option == "--workspace"))
        let views = try await box.start(program: [agentBinary, "history", "--json"] + arguments).ended()
        #expect(try JSON(views.output).items.count == 1)
    }
}

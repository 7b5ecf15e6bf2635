import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct SecretTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let general = "hunter2-plain-value"
    private static let platform = "platform/held+value=="
    private static let token = "ghp_0123456789abcdefghijklmnopqrstuv"
    private static let urlPassword = "p4ss-in-a-url"
    private static let printedURL = "printed-url-password"
    private static let ledgerPassword = "ledger-password-9"
    private static let multiline = "-----BEGIN KEY-----\nMIIEabcdefghijk\n-----END KEY-----"
    private static let all = [general, platform, token, urlPassword, printedURL, "MIIEabcdefghijk"]

    private static let spec = """
        name: shop
        envs:
          - {key: DB_PASSWORD, value: "\(general)", type: SECRET}
          - {key: API_KEY, value: "EV[1:abc:def]", type: SECRET}
          - key: TLS_KEY
            type: SECRET
            value: "-----BEGIN KEY-----\\nMIIEabcdefghijk\\n-----END KEY-----"
        """

    private var settings: [String: String] {
        [
            "API_KEY": Self.platform, "GITHUB_TOKEN": Self.token,
            "PRE_DEPLOY_COMMAND":
                "echo \"$DB_PASSWORD $API_KEY $GITHUB_TOKEN\"; printf %s \"${DB_PASSWORD:0:5}\"; sleep 0.3; printf '%s\\n' \"${DB_PASSWORD:5}\"; "
                + "printf 'cut-%s' \"${API_KEY:0:3}\" >&2; sleep 0.3; echo \"${API_KEY:3}\" >&2; echo \"$TLS_KEY\" | sed 's/^/  /'; "
                + "echo https://u:\(Self.printedURL)@host/x; : \(Self.general); echo dupl$DB_PASSWORD$DB_PASSWORD; "
                + "printf %s \"$DB_PASSWORD\" > $OUT/seen; printf %s \"$API_KEY\" > $OUT/seen2; exit 3",
        ]
    }

    /// Where any of the secrets stands in what the agent wrote.
    private func leaks(in texts: [String: String]) async throws -> [String] {
        var found: [String] = []
        for secret in Self.all {
            for (name, text) in texts where text.contains(secret) { found.append("\(secret) in \(name)") }
            try box.write(secret, to: box.root + "/needle")
            let files = try await box.sh("grep -rlaF -f needle state || true")
            if !files.isEmpty { found.append("\(secret) in \(files)") }
        }
        return found
    }

    @Test("no secret is in log, JSON, text, log file, or any byte of the state directory", arguments: ["text", "json"])
    func nowhere(_ format: String) async throws {
        try await box.commit(["appspec.yaml": Self.spec])
        #expect(try await box.once(["API_KEY": Self.platform]).outcome == "deployed")
        try await box.commit(["app.txt": "2"], "uses \(Self.general) and https://a:\(Self.printedURL)@b")
        var texts: [String: String] = [:]
        var settings = settings
        settings["AGENT_LOG_FORMAT"] = format
        settings["AGENT_LOG_LEVEL"] = "trace"
        let once = try await box.once(settings)
        #expect(once.code == 1, "\(once)")
        #expect(
            box.text(box.out + "/seen") == Self.general && box.text(box.out + "/seen2") == Self.platform,
            "the hook did not get the values")
        (texts["once output"], texts["once log"]) = (once.ended.output, once.ended.errors)
        #expect(once.runs[0]["output_tail"].string?.contains("***") == true)
        let id = "\(once.deployment["id"])"
        let run = "\(once.runs[0]["id"])"
        let commands = [
            ["show", id], ["show", id, "--json"], ["history"], ["history", "--json"], ["status"], ["status", "--json"],
            ["logs", run], ["check"],
            ["check", "--json"], ["retry"],
        ]
        for command in commands {
            // Without the secrets in the environment, too: what is in the record must be masked there.
            for (name, environment) in [("with", settings), ("without", [:])] {
                let ended = try await box.start(program: [agentBinary] + command, environment).ended()
                texts["\(command) \(name)"] = ended.output + ended.errors
            }
        }
        let found = try await leaks(in: texts)
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))\n\(once.ended.errors)")
    }

    @Test(
        "at level debug no secret is in the log, as a list of bytes neither", arguments: ["run", "exec"],
        ["text", "json"])
    func debug(way: String, format: String) async throws {
        try await box.commit(["appspec.yaml": Self.spec])
        #expect(try await box.once(["API_KEY": Self.platform]).outcome == "deployed")
        let secrets = [
            "API_KEY": Self.platform, "GITHUB_TOKEN": Self.token, "AGENT_API_TOKEN": "api-token-7",
            "AGENT_WEBHOOK_SECRET": "hook-secret-7", "NOTIFY_SECRET": "notify-secret-7",
        ]
        let app = ["--", "sh", "-c", "touch $OUT/app; while :; do sleep 0.05; done"]
        let program = try box.start(
            program: [agentBinary, way] + (way == "exec" ? app : []),
            secrets.merging([
                "AGENT_LOG_FORMAT": format, "AGENT_LOG_LEVEL": "trace",
                "NOTIFY_URL": "http://127.0.0.1:9/\(Self.general)",
                "DATABASE_URL": "postgres://u:\(Self.urlPassword)@h/d", "ENABLE_DEV_HEALTH": "true",
                "DEV_HEALTH_PORT": try await box.freePort(), "AGENT_HTTP_HOST": "127.0.0.1",
            ]) { $1 })
        try await until("it is at rest", details: { program.errors }) {
            try await box.json("status")["next_check"].string != nil && (way == "run" || box.has("app"))
        }
        try await program.send(SIGTERM)
        _ = try await program.ended()
        for secret in secrets.values + [Self.general, Self.urlPassword] {
            let bytes = secret.utf8.map(String.init).joined(separator: ", ")
            #expect(!program.errors.contains(secret) && !program.errors.contains(bytes), "\(program.errors)")
        }
    }

    @Test("`check` before the first checkout shows no secret of the commit that is being deployed")
    func checkBeforeFirstCheckout() async throws {
        try await box.commit(["appspec.yaml": Self.spec])
        #expect(try await box.once(settings).code == 1)
        for arguments in [["check"], ["check", "--json"]] {
            let ended = try await box.start(program: [agentBinary] + arguments, settings).ended()
            #expect(!(ended.output + ended.errors).contains(Self.general), "\(arguments)")
        }
    }

    @Test("no secret is in the state directory while the hook runs or after the agent was killed")
    func killed() async throws {
        try await box.commit(["appspec.yaml": Self.spec])
        var settings = settings
        // A spec in a commit is the team's own text; the stage holds it while the hook runs. Everything else must not.
        settings["PRE_DEPLOY_COMMAND"] = (settings["PRE_DEPLOY_COMMAND"] ?? "").replacingOccurrences(
            of: "exit 3", with: "rm appspec.yaml; touch $OUT/ready; sleep 1000")
        let agent = try box.start("run", settings: settings)
        try await until("the hook runs", details: { agent.errors }) { box.has("ready") }
        try await until("its output has arrived") { agent.errors.contains("dupl") }
        #expect(try await leaks(in: ["log": agent.errors]).isEmpty)
        try await agent.send(SIGKILL)
        _ = try await agent.ended()
        settings["PRE_DEPLOY_COMMAND"] = "true"
        let once = try await box.once(settings)
        #expect(once.code == 0)
        #expect(try await leaks(in: ["log": once.ended.errors + once.ended.output]).isEmpty)
    }

    @Test("user and password of a URL are in no error, argument, file or configuration", arguments: ["http", "https"])
    func urlPassword(_ scheme: String) async throws {
        try box.install("git", "echo \"$@\" >> $OUT/git; exec /usr/bin/git \"$@\"")
        let once = try await box.once([
            "GITHUB_REPO_URL": "\(scheme)://robot:\(Self.urlPassword)@127.0.0.1:9/r.git", "GITHUB_TOKEN": Self.token,
        ])
        #expect(once.code == 69 && once.outcome == "unreachable", "\(once)")
        #expect(once.ended.errors.contains("127.0.0.1:9/r.git"), "does not name the remote")
        #expect(!box.lines("git").isEmpty)
        let found = try await leaks(in: [
            "log": once.ended.errors + once.ended.output, "git's arguments": box.lines("git").joined(),
        ])
        #expect(found.isEmpty, "\(found)")
        for command in [["check"], ["check", "--json"], ["status", "--json"]] {
            let ended = try await box.start(
                program: [agentBinary] + command, ["GITHUB_REPO_URL": "https://robot:\(Self.urlPassword)@h/r"]
            ).ended()
            #expect(!(ended.output + ended.errors).contains(Self.urlPassword), "\(command)")
        }
    }

    @Test("git is given the credential for its own host, and hooks do not get what is the agent's")
    func credentialsOfTheAgent() async throws {
        try box.write(Self.token + "\n", to: box.root + "/token")
        let once = try await box.once([
            "GITHUB_TOKEN_FILE": box.root + "/token", "AGENT_SOMETHING": "mine",
            "POST_DEPLOY_COMMAND": "env > $OUT/env; cat \(box.root)/token",
        ])
        #expect(once.outcome == "deployed", "\(once)")
        #expect(
            !box.lines("env").contains {
                $0.hasPrefix("AGENT_") || $0.contains(Self.token) || $0.hasPrefix("GIT_CONFIG")
            })
        #expect(once.runs[0]["output_tail"].string == "***\n")
    }

    @Test(
        "a rejected value of a secret is not shown",
        arguments: ["AGENT_LEDGER_URL", "GITHUB_REPO_URL", "PRE_DEPLOY_TIMEOUT"])
    func rejectedValue(_ name: String) async throws {
        var settings = [name: "postgresql://agent:\(Self.ledgerPassword)@db/agent?connect_timeout=x y"]
        if name == "GITHUB_REPO_URL" { settings = [name: "https://agent:\(Self.ledgerPassword)@127.0.0.1:9/"] }
        if name == "PRE_DEPLOY_TIMEOUT" {
            try await box.commit([
                "appspec.yaml": "envs:\n  - {key: PRE_DEPLOY_TIMEOUT, value: \(Self.ledgerPassword), type: SECRET}\n"
            ])
            settings = [:]
        }
        let once = try await box.once(settings)
        #expect(once.code != 0 && !(once.ended.errors + once.ended.output).contains(Self.ledgerPassword), "\(once)")
        let json = try await box.start(program: [agentBinary, "run-once", "--log-format", "json"], settings).ended()
        #expect(!(json.errors + json.output).contains(Self.ledgerPassword), "\(json)")
    }

    @Test("what merge keys bring counts: a secret is masked, and a gate is there")
    func merged() async throws {
        try await box.commit([
            "appspec.yaml": """
            x-secret: &secret {type: SECRET, scope: RUN_TIME}
            x-base: &base
              envs:
                - {<<: *secret, key: API_KEY, value: \(Self.general)}
                - {key: PRE_DEPLOY_COMMAND, value: 'echo "key $API_KEY"; exit 1'}
            services:
              - <<: *base
                name: web

            """
        ])
        let once = try await box.once()
        #expect(once.outcome == "failed" && once.ended.errors.contains("[PRE_DEPLOY] key ***\n"), "\(once)")
        #expect(try await leaks(in: ["log": once.ended.errors + once.ended.output]).isEmpty)
    }

    @Test("a secret that holds characters which JSON escapes is masked in JSON, too")
    func escapedSecret() async throws {
        let secret = "qu\"ote\\back/slash\ttab"
        try await box.commit(["appspec.yaml": "envs:\n  - {key: ODD, value: \"${ODD_VALUE}\", type: SECRET}\n"])
        let ended = try await box.agent(
            "run-once", "--json", "--log-format", "json",
            settings: ["ODD_VALUE": secret, "POST_DEPLOY_COMMAND": "printf '%s\\n' \"$ODD\""])
        #expect(
            ended.code == 0 && !ended.errors.contains("ote\\\\back") && !ended.output.contains("ote\\\\back"),
            "\(ended)")
        #expect(ended.errors.contains("***"))
    }
}

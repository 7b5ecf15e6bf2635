import Foundation
import Glibc
import Testing

/// `/api/v1`: what the command line shows and does, for whoever has the token.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct APITests {
    let box: Box
    let port: String

    init() async throws {
        box = try await Box()
        port = try await box.freePort()
    }

    private func start(_ settings: [String: String] = [:]) async throws -> Program {
        let program = try box.start(
            "run",
            settings: [
                "ENABLE_DEV_HEALTH": "true", "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
                "AGENT_API_TOKEN": "t0ken-t0ken", "GITHUB_SYNC_INTERVAL": "1h",
                "POST_DEPLOY_COMMAND": "echo hello t0ken-t0ken; echo $DEPLOY_TRIGGER >> $OUT/post",
            ].merging(settings) { $1 })
        try await box.atRest(after: 1, program)
        return program
    }

    private func ask(
        _ method: String, _ path: String, token: String? = "t0ken-t0ken", scheme: String = "Bearer"
    ) async throws -> (code: Int, body: String) {
        let header = token.map { ["-H", "Authorization: \(scheme) \($0)"] } ?? []
        let ended = try await box.start(
            program: ["curl", "-s", "-m", "10", "-X", method, "-w", "\n%{http_code}"] + header + [
                "http://127.0.0.1:\(port)/api/v1\(path)"
            ]
        ).ended()
        let cut = try #require(ended.output.lastIndex(of: "\n"))
        return (Int(ended.output[ended.output.index(after: cut)...]) ?? 0, String(ended.output[..<cut]))
    }

    @Test("tasks are the command line's JSON; a check that is asked for tries those that are not done")
    func tasks() async throws {
        try await box.commit([
            "deploy.yaml": "tasks:\n  - { id: seed-v1, run: 'test -e $OUT/good' }\n  - { id: other-v1, run: 'true' }\n"
        ])
        let program = try await start()
        let listed = try await box.json("tasks")
        #expect(listed.items.map { $0["status"].string } == ["failed", "done"])
        #expect(try await JSON(ask("GET", "/tasks").body) == listed)
        #expect(try await ask("GET", "/tasks", token: nil).code == 401)
        try box.touch("good")
        #expect(try await ask("POST", "/check").code == 202)
        try await until("it is done", details: { program.errors }) {
            try await box.json("tasks").items.first?["status"].string == "done"
        }
    }

    @Test("what another app of the same record did is not shown, by whatever id")
    func otherApp() async throws {
        let other = ["AGENT_APP": "other", "WORKSPACE_PATH": box.root + "/other", "PRE_DEPLOY_COMMAND": "echo theirs"]
        let theirs = try await box.once(other)
        #expect(theirs.outcome == "deployed", "\(theirs)")
        let program = try await start()
        let own = try await box.history()
        for (path, isOwn) in [(theirs.deployment, false), (try #require(own.first), true)] {
            let id = try #require(path["id"].int)
            let shown = try await box.json("show", "\(id)", settings: isOwn ? [:] : other)
            let run = try #require(shown["runs"].items.first?["id"].int)
            for path in ["/deployments/\(id)", "/runs/\(run)/log"] {
                #expect(try await ask("GET", path).code == (isOwn ? 200 : 404), "\(path): \(program.errors)")
            }
        }
    }

    /// What happens to the look, right after a deployment, that comes upon the next commit.
    enum Look: CaseIterable, Sendable {
        case deploys, isRefused, cannotRecord
    }

    @Test(
        "a check that is asked for while one is under way names the deployment that follows", arguments: Look.allCases)
    func askedMeanwhile(_ look: Look) async throws {
        // The look is held while it gets the commit that came during the first deployment.
        try box.install(
            "git",
            """
            case " $* " in *" fetch "*)
                if test -e \(box.out)/hold; then
                    touch \(box.out)/held
                    while test -e \(box.out)/hold; do sleep 0.02; done
                    \(look == .isRefused ? "echo 'fatal: Authentication failed for x' >&2; exit 128" : ":")
                fi
            esac
            exec /usr/bin/git "$@"
            """)
        let program = try watching(post: "touch $OUT/hold; \(pushes)")
        try await until("the look is held", details: { program.errors }) { box.has("held") }
        #expect(try await ask("POST", "/check").code == 202)
        // Nothing can be written to the record while this has its lock.
        let lock = look == .cannotRecord ? try await lockRecord() : nil
        box.remove("hold")
        if let lock {
            try await until("it cannot record", within: 60, details: { program.errors }) {
                program.errors.contains("ledger")
            }
            try await lock.send(SIGTERM)
        }
        try await box.atRest(after: 2, program)
        #expect(box.lines("post") == ["startup", "manual"])
        #expect(program.errors.contains("Authentication failed") == (look == .isRefused), "\(program.errors)")
    }

    @Test("so does one that is asked for while a hook runs")
    func askedDuringHook() async throws {
        let program = try watching(post: "touch $OUT/runs; while ! test -e $OUT/go; do sleep 0.02; done; \(pushes)")
        try await until("the hook runs", details: { program.errors }) { box.has("runs") }
        #expect(try await ask("POST", "/check").code == 202)
        try box.touch("go")
        try await box.atRest(after: 2, program)
        #expect(box.lines("post") == ["startup", "manual"])
    }

    private var pushes: String {
        """
        git -C \(box.work) -c user.name=t -c user.email=t@t commit -q --allow-empty -m second
        git -C \(box.work) push -q origin HEAD:main
        """
    }

    /// An agent that checks by itself once an hour, and does something in its first POST_DEPLOY.
    private func watching(post: String) throws -> Program {
        try box.start(
            "run",
            settings: [
                "ENABLE_DEV_HEALTH": "true", "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
                "AGENT_API_TOKEN": "t0ken-t0ken", "GITHUB_SYNC_INTERVAL": "1h",
                "POST_DEPLOY_COMMAND":
                    "echo $DEPLOY_TRIGGER >> $OUT/post; test -e $OUT/once && exit 0; touch $OUT/once; \(post)",
            ])
    }

    private func lockRecord() async throws -> Program {
        let lock = try box.start(program: [
            "/usr/bin/python3", "-c",
            """
            import os, sqlite3, signal
            database = sqlite3.connect("\(box.state)/ledger.sqlite", isolation_level=None)
            database.execute("BEGIN IMMEDIATE")
            open("\(box.out)/locked", "w").close()
            signal.pause()
            """,
        ])
        try await until("the record is locked", details: { lock.errors }) { box.has("locked") }
        return lock
    }

    @Test("views are the command line's JSON")
    func views() async throws {
        _ = try await start()
        let all = try await ask("GET", "/deployments")
        #expect(all.code == 200)
        let history = try await box.history()
        #expect(try JSON(all.body).items == history)
        for path in ["/deployments/1", "/deployments/" + (try await box.head())] {
            #expect(try await JSON(ask("GET", path).body) == box.json("show", "1"))
        }
        let status = try JSON(try await ask("GET", "/status").body)
        let expected = try await box.json("status")
        for key in ["app", "commit", "workspace", "last_deployment", "lock", "ledger"] {
            #expect(status[key] == expected[key] && status[key] != .missing, "\(key)")
        }
        #expect(try await JSON(ask("GET", "/deployments?status=failed").body).items.isEmpty)
        #expect(try await ask("GET", "/runs/1/log").body == "hello ***\n")
    }

    @Test("what is not there, and what is not accepted")
    func wrong() async throws {
        _ = try await start()
        for path in ["/deployments/99", "/runs/99/log", "/runs/x/log", "/nothing"] {
            #expect(try await ask("GET", path).code == 404, "\(path)")
        }
        for path in ["/deployments?limit=0", "/deployments?limit=x", "/deployments?status=maybe"] {
            #expect(try await ask("GET", path).code == 400, "\(path)")
        }
        #expect(try await ask("POST", "/retry").code == 404)
        #expect(try await ask("POST", "/deployments/1").code == 405)
        #expect(try await ask("GET", "/check").code == 405)
        #expect(try await ask("GET", "/check", token: "no").code == 401)
    }

    @Test("the OpenAPI document has every key that is sent, and no other")
    func document() async throws {
        _ = try await start()
        let document = try #require(FileManager.default.contents(atPath: Self.repository + "/docs/openapi.yaml"))
        let deployment = try JSON(try await ask("GET", "/deployments/1").body)
        let status = try JSON(try await ask("GET", "/status").body)
        let error = try JSON(try await ask("GET", "/deployments/99").body)
        for (schema, sent) in [
            ("Status", status), ("Deployment", deployment), ("Run", deployment["runs"].items[0]), ("Error", error),
        ] {
            let keys = Set(sent.keys).subtracting(["runs"])
            #expect(Self.properties(of: schema, in: String(decoding: document, as: UTF8.self)) == keys, "\(schema)")
        }
    }

    private static let repository = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    /// The names under `properties:` of a schema of the document's components.
    static func properties(of schema: String, in document: String) -> Set<String> {
        let lines = document.split(separator: "\n")
        guard let begin = lines.firstIndex(of: "    \(schema):") else { return [] }
        let section = lines[(begin + 1)...].prefix { $0.hasPrefix("     ") }.drop { $0 != "      properties:" }
            .dropFirst()
        return Set(
            section.filter { $0.hasPrefix("        ") && !$0.hasPrefix("         ") }.map {
                String($0.prefix { $0 != ":" }.drop { $0 == " " })
            })
    }

    @Test("check deploys at once, retry makes a failed commit due again")
    func actions() async throws {
        let program = try await start([
            "PRE_DEPLOY_COMMAND": "test ! -e bad || test -e $OUT/good", "PRE_DEPLOY_RETRIES": "0",
        ])
        try await box.commit(["bad": "1"])
        #expect(try await ask("POST", "/check").code == 202)
        // A look that is still under way would take the retry as its own.
        try await box.atRest(after: 2, program)
        #expect(try await box.history().first?["status"].string == "failed")
        try box.touch("good")
        let retried = try await ask("POST", "/retry")
        let status = try JSON(retried.body)["status"].string
        #expect(retried.code == 200 && status == "failed")
        #expect(try await ask("POST", "/check").code == 202)
        try await until("it is deployed", details: { program.errors }) { box.lines("post").count == 2 }
        #expect(box.lines("post") == ["startup", "manual"])
    }

    @Test("a wrong token is refused; without one there is no API")
    func token() async throws {
        let program = try await start()
        for token in [nil, "", "t0ken", "t0ken-t0ken-t0ken"] {
            #expect(try await ask("GET", "/status", token: token).code == 401)
            #expect(try await ask("POST", "/check", token: token).code == 401)
        }
        for scheme in ["bearer", "BEARER", "Bearer "] {
            #expect(try await ask("GET", "/status", scheme: scheme).code == 200, "\(scheme)")
        }
        #expect(try await ask("GET", "/status", scheme: "Basic").code == 401)
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 0)
        let none = try await start(["AGENT_API_TOKEN": ""])
        try await until("it answers", details: { none.errors }) { try await ask("GET", "/status").code == 404 }
        #expect(try await ask("POST", "/check").code == 404)
    }

    @Test("a token file is read anew for every request")
    func tokenFile() async throws {
        try box.write("first\n", to: box.root + "/token")
        _ = try await start(["AGENT_API_TOKEN": "", "AGENT_API_TOKEN_FILE": box.root + "/token"])
        #expect(try await ask("GET", "/status", token: "first").code == 200)
        try box.write("second\n", to: box.root + "/token")
        #expect(try await ask("GET", "/status", token: "first").code == 401)
        #expect(try await ask("GET", "/status", token: "second").code == 200)
    }
}

import Foundation
import Glibc
import Testing

/// `NOTIFY_URL`: who is told of a settled deployment, until it is taken.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct NotificationTests {
    let box: Box
    let port: String

    init() async throws {
        box = try await Box()
        port = try await box.freePort()
    }

    /// `server.py PORT [CERTIFICATE]`: appends a line of JSON for each request, and answers with the status in the file
    /// `status`, 204 without one; a status of 0 never answers.
    private static let server = """
        import http.server, json, os, ssl, sys, time
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = int(open("status").read()) if os.path.exists("status") else 204
                with open("requests", "a") as f:
                    f.write(json.dumps({"path": self.path, "status": status, "body": body.decode(),
                        "headers": {k.lower(): v for k, v in self.headers.items()}}) + "\\n")
                while status == 0: time.sleep(0.05)
                self.send_response(status); self.end_headers()
            def log_message(self, *_): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
        if len(sys.argv) > 2:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(sys.argv[2])
            server.socket = context.wrap_socket(server.socket, server_side=True)
        open("listening", "w").close()
        server.serve_forever()
        """

    private func listen(certificate: String? = nil) async throws {
        try box.write(Self.server, to: box.root + "/server.py")
        let server = try box.start(program: ["python3", "server.py", port] + [certificate].compactMap { $0 })
        try await until("the receiver listens", details: { server.errors }) {
            FileManager.default.fileExists(atPath: box.root + "/listening")
        }
    }

    private var requests: [JSON] {
        get throws {
            let text = FileManager.default.contents(atPath: box.root + "/requests") ?? Data()
            return try String(decoding: text, as: UTF8.self).split(separator: "\n").map { try JSON(String($0)) }
        }
    }

    private func settings(_ more: [String: String] = [:]) -> [String: String] {
        [
            "NOTIFY_URL": "http://127.0.0.1:\(port)/hooks/s3cr3t-path?x=1", "NOTIFY_SECRET": "n0tify-secret",
            "POST_DEPLOY_COMMAND": "echo hello",
        ].merging(more) { $1 }
    }

    @Test("a settled deployment's JSON is posted, signed")
    func posted() async throws {
        try await listen()
        let once = try await box.once(settings())
        #expect(once.outcome == "deployed", "\(once)")
        let request = try #require(try requests.first)
        #expect(try requests.count == 1 && request["path"].string == "/hooks/s3cr3t-path?x=1")
        let body = try #require(request["body"].string)
        #expect(try JSON(body) == once.deployment, "\(body)")
        try box.write(body, to: box.root + "/body")
        let code = try await box.sh("openssl dgst -sha256 -hmac n0tify-secret < body | sed 's/.* //'")
        #expect(request["headers"]["x-agent-signature-256"].string == "sha256=" + code)
        #expect(request["headers"]["content-type"].string == "application/json")
        #expect(request["headers"]["x-agent-event"].string == "deployment")
        #expect(request["headers"]["x-agent-delivery"].string?.isEmpty == false)
        #expect(try await box.once(settings()).outcome == "unchanged")
        #expect(try requests.count == 1, "it was taken, so it is told once")
    }

    @Test("`exec` tells of a start that failed before it ends, once", arguments: ["PRE_DEPLOY", "POST_DEPLOY"])
    func failedStart(hook: String) async throws {
        try await listen()
        let ended = try await box.start(
            program: [agentBinary, "exec", "--", "sleep", "1000"],
            settings(["\(hook)_COMMAND": "exit 1", "\(hook)_RETRIES": "0", "\(hook)_MODE": "strict"])
        ).ended()
        #expect(ended.code == 1, "\(ended)")
        let body = try #require(try requests.first?["body"].string, "\(ended)")
        #expect(try requests.count == 1 && JSON(body)["status"].string == "failed")
    }

    @Test("SIGTERM does not wait for the one who is to be told of it")
    func failedStartStopped() async throws {
        try await listen()
        try box.write("0", to: box.root + "/status")
        let program = try box.start(
            program: [agentBinary, "exec", "--", "sleep", "1000"],
            settings(["PRE_DEPLOY_COMMAND": "exit 1", "PRE_DEPLOY_RETRIES": "0"]))
        try await until("the receiver has heard of it", details: { program.errors }) { try requests.count == 1 }
        try await program.send(SIGTERM)
        let ended = try await program.ended()
        // An attempt that is broken off is none. The signal may come just before the end that the failure makes.
        #expect([1, 143].contains(ended.code) && !ended.errors.contains("was not taken"), "\(ended)")
        #expect(!ended.errors.contains("ServiceGroup"), "\(ended)")
    }

    @Test("what is not settled yet is told to nobody; a failure is told when its retries are used up")
    func settledOnly() async throws {
        try await listen()
        let failing = settings(["PRE_DEPLOY_COMMAND": "exit 3", "PRE_DEPLOY_RETRIES": "1"])
        #expect(try await box.once(failing).outcome == "failed")
        #expect(try requests.isEmpty)
        #expect(try await box.once(failing).outcome == "failed")
        let body = try JSON(try #require(try requests.first?["body"].string))
        #expect(try requests.count == 1 && body["status"].string == "failed" && body["settled"] == .bool(true))
        #expect(body["runs"][0]["exit_code"].int == 3)
    }

    @Test("a rollback is told of, and so is a commit that is refused for its signature")
    func others() async throws {
        try await listen()
        #expect(try await box.once(settings()).outcome == "deployed")
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings()).outcome == "deployed")
        #expect(try await box.agent("rollback", settings: settings()).code == 0)
        let back = try JSON(try #require(try requests.last?["body"].string))
        #expect(try requests.count == 3 && back["trigger"].string == "rollback" && back["status"].string == "succeeded")
        try await box.commit(["app.txt": "v3\n"])
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f key; sed 's/^/a@t /' key.pub > signers")
        let signed = ["AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers"]
        #expect(try await box.once(settings(signed)).outcome == "failed")
        let refused = try JSON(try #require(try requests.last?["body"].string))
        #expect(try requests.count == 4 && refused["status"].string == "failed")
        #expect(refused["error_message"].string?.contains("no signature") == true, "\(refused)")
    }

    @Test("what nobody takes is tried again until it is taken, in the same delivery", arguments: [500, 302, 404])
    func retried(status: Int) async throws {
        try await listen()
        try box.write("\(status)", to: box.root + "/status")
        let program = try box.start("run", settings: settings())
        try await until("it was refused", details: { program.errors }) { try !requests.isEmpty }
        try box.write("200", to: box.root + "/status")
        try await until("it is taken", details: { program.errors }) { try requests.last?["status"].int == 200 }
        #expect(Set(try requests.map { $0["headers"]["x-agent-delivery"].string }).count == 1)
        #expect(program.errors.contains("HTTP \(status)") && !program.errors.contains("s3cr3t-path"))
    }

    @Test("of a failure that is rolled back from by itself it tells first, also where retries were left")
    func wentBack() async throws {
        try await listen()
        let settings = settings([
            "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict", "POST_DEPLOY_RETRIES": "3",
            "POST_DEPLOY_COMMAND": "test \"$(cat app.txt)\" = v1",
        ])
        #expect(try await box.once(settings).outcome == "deployed")
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).outcome == "failed")
        let told = try requests.map { try JSON(try #require($0["body"].string)) }
        #expect(told.map { $0["status"].string } == ["succeeded", "failed", "succeeded"], "\(told)")
        #expect(told.map { $0["trigger"].string } == ["manual", "manual", "rollback"], "\(told)")
    }

    @Test("a crash loses no notification: the next agent delivers it")
    func crash() async throws {
        // Nobody listens.
        let program = try box.start("run", settings: settings(["GITHUB_SYNC_INTERVAL": "1h"]))
        try await until("it was tried", details: { program.errors }) { program.errors.contains("was not taken") }
        try await program.send(SIGKILL)
        _ = try await program.ended()
        try await listen()
        let again = try box.start("run", settings: settings(["GITHUB_SYNC_INTERVAL": "1h"]))
        try await until("it is delivered", details: { again.errors }) { try requests.count == 1 }
        #expect(try JSON(try #require(try requests[0]["body"].string))["status"].string == "succeeded")
        #expect(try await box.history().count == 1)
    }

    @Test("a receiver that never answers holds up neither deployments nor the end")
    func hangs() async throws {
        try await listen()
        try box.write("0", to: box.root + "/status")
        let program = try box.start("run", settings: settings(["GITHUB_SYNC_INTERVAL": "100ms"]))
        try await until("it is asked", details: { program.errors }) { try requests.count == 1 }
        let commit = try await box.commit()
        try await until("the next commit is deployed", details: { program.errors }) {
            try await box.history().first?["commit"].string == commit
        }
        let begin = ContinuousClock.now
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 0)
        #expect(ContinuousClock.now - begin < .seconds(9), "a delivery has 10 s")
    }

    @Test("https: a certificate that the system trusts is needed")
    func https() async throws {
        try await box.sh(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost "
                + "-addext subjectAltName=DNS:localhost 2>/dev/null; cat key.pem cert.pem > both.pem")
        try await listen(certificate: "both.pem")
        let settings = settings(["NOTIFY_URL": "https://localhost:\(port)/x"])
        let untrusted = try await box.once(settings)
        #expect(untrusted.outcome == "deployed" && untrusted.ended.errors.contains("certificate"), "\(untrusted)")
        #expect(try requests.isEmpty)
        try await until("the pause is over and it is delivered", within: 30) {
            _ = try await box.once(settings.merging(["SSL_CERT_FILE": box.root + "/cert.pem"]) { $1 })
            return try requests.count == 1
        }
    }

    @Test("the URL is secret, and what is no URL is refused")
    func url() async throws {
        let check = try await box.agent("check", settings: settings())
        #expect(check.code == 0 && !check.output.contains("s3cr3t-path") && check.output.contains("NOTIFY_URL"))
        let wrong = try await box.agent("check", settings: ["NOTIFY_URL": "ftp://host/s3cr3t-path"])
        #expect(wrong.code == 78 && wrong.errors.contains("NOTIFY_URL") && !wrong.errors.contains("s3cr3t-path"))
    }
}

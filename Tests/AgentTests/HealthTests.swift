import Foundation
import Glibc
import Testing

/// What the HTTP server beside the check loop says, asked by curl.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct HealthTests {
    let box: Box
    let port: String

    init() async throws {
        box = try await Box()
        port = try await box.freePort()
    }

    private func start(_ settings: [String: String] = [:], _ arguments: String..., limit: String = ":") throws
        -> Program
    {
        let defaults = ["ENABLE_DEV_HEALTH": "true", "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1"]
        return try box.start(
            program: [agentBinary] + (arguments.isEmpty ? ["run"] : arguments), defaults.merging(settings) { $1 },
            limit: limit)
    }

    /// Status code and body; nil when nothing answers.
    private func get(_ path: String) async throws -> (code: Int, body: String)? {
        let ended = try await box.start(
            program: ["curl", "-s", "-m", "5", "-w", "\n%{http_code}", "http://127.0.0.1:\(port)\(path)"]
        ).ended()
        guard ended.code == 0, let cut = ended.output.lastIndex(of: "\n") else { return nil }
        return (Int(ended.output[ended.output.index(after: cut)...]) ?? 0, String(ended.output[..<cut]))
    }

    /// An answer's head, lower-case, its lines ended by a line feed.
    private func head(_ arguments: String..., path: String) async throws -> String {
        let ended = try await box.start(
            program: ["curl", "-s", "-m", "5", "-D", "-", "-o", "/dev/null"] + arguments + [
                "http://127.0.0.1:\(port)\(path)"
            ]
        ).ended()
        return ended.output.lowercased().replacing("\r\n", with: "\n")
    }

    private func metric(_ line: String) async throws -> String? {
        try await get("/metrics")?.body.split(separator: "\n").first { $0.hasPrefix(line + " ") }
            .map { String($0.dropFirst(line.count + 1)) }
    }

    @Test("health is there before the first clone has begun; ready comes with the deployment")
    func course() async throws {
        let program = try start(["PRE_DEPLOY_COMMAND": "touch $OUT/pre; " + Hooks.await_("go")])
        try await until("PRE_DEPLOY runs", details: { program.errors }) { box.has("pre") }
        let health = try #require(try await get("/dev_health"))
        let json = try JSON(health.body)
        #expect(health.code == 200 && json["status"].string == "ok" && json["service"].string == "dev-container")
        #expect(json["timestamp"].string?.hasSuffix("Z") == true)
        #expect(try await get("/livez")?.code == 200)
        let early = try #require(try await get("/readyz"))
        let reason = try JSON(early.body)["reason"].string
        #expect(early.code == 503 && reason == "starting", "\(early)")
        try box.touch("go")
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        #expect(try await get("/nothing")?.code == 404)
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 0)
    }

    @Test("a failed deployment is not ready and says why; the next good one is; livez stays")
    func failure() async throws {
        let program = try start(["PRE_DEPLOY_COMMAND": "exit $(cat code)", "GITHUB_SYNC_INTERVAL": "200ms"])
        try await box.commit(["code": "3\n"])
        try await until("it has failed", details: { program.errors }) {
            try await get("/readyz")?.body.contains("PRE_DEPLOY failed: exit code 3") == true
        }
        #expect(try await get("/readyz")?.code == 503)
        #expect(try await get("/livez")?.code == 200)
        let last = "deploy_agent_last_run_status{hook=\"PRE_DEPLOY\",status=\"failed\"}"
        try await until("it counts", details: { program.errors }) { try await metric(last) == "1" }
        try await box.commit(["code": "0\n"])
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        try await until("it counts", details: { program.errors }) { try await metric(last) == "0" }
    }

    @Test("an unreachable remote makes it unready only after three intervals and the git timeout; livez stays")
    func stale() async throws {
        let program = try start(["GITHUB_SYNC_INTERVAL": "200ms", "AGENT_GIT_TIMEOUT": "1s"])
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        try await box.sh("mv up.git gone.git")
        try await until("it is stale", details: { program.errors }) {
            try await get("/readyz")?.body.contains("no successful check since") == true
        }
        #expect(try await get("/livez")?.code == 200)
        try await box.sh("mv gone.git up.git")
        try await until("it is ready again", details: { program.errors }) { try await get("/readyz")?.code == 200 }
    }

    @Test("a rollback by itself counts in the metrics, beside the deployment that failed")
    func wentBack() async throws {
        let program = try start([
            "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict", "GITHUB_BRANCH": "main",
            "POST_DEPLOY_COMMAND": "test \"$(cat app.txt)\" = v1",
        ])
        try await box.atRest(after: 1, program)
        let good = try await box.head()
        try await box.commit(["app.txt": "v2\n"])
        try await box.atRest(after: 3, program)
        #expect(try await metric("deploy_agent_deployments_total{status=\"failed\"}") == "1")
        #expect(try await metric("deploy_agent_deployments_total{status=\"succeeded\"}") == "2")
        #expect(try await metric("deploy_agent_commit_info{commit=\"\(good)\",ref=\"main\"}") == "1")
        #expect(try await metric("deploy_agent_last_run_status{hook=\"POST_DEPLOY\",status=\"succeeded\"}") == "1")
        #expect(try await metric("deploy_agent_runs_total{hook=\"POST_DEPLOY\",status=\"failed\"}") == "1")
        #expect(try await metric("deploy_agent_commit_held") == "1")
        try await box.commit(["app.txt": "v1\n", "more.txt": "v3\n"])
        try await box.atRest(after: 4, program)
        #expect(try await metric("deploy_agent_commit_held") == "0")
    }

    @Test("metrics are what Prometheus's own parser reads, with the record's last runs after a restart")
    func metrics() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": "true", "POST_DEPLOY_COMMAND": "exit 2", "GITHUB_BRANCH": "main",
        ]
        try await box.commit([
            "deploy.yaml": "tasks:\n  - { id: a, run: 'true' }\n  - { id: b, run: 'exit 1' }\n"
        ])
        let program = try start(settings)
        try await box.atRest(after: 1, program)
        let text = try #require(try await get("/metrics")).body
        try box.write(text + "\n", to: box.root + "/metrics.txt")
        let families = try await box.sh(
            "python3 -c 'import sys; from prometheus_client.parser import text_string_to_metric_families as f; "
                + "print(\"\\n\".join(s.name + str(sorted(s.labels.items())) + \" \" + str(s.value) "
                + "for m in f(open(\"metrics.txt\").read()) for s in m.samples))'")
        let commit = try await box.head()
        for expected in [
            "deploy_agent_checks_total[('outcome', 'deployed')] 1.0",
            "deploy_agent_deployments_total[('status', 'succeeded')] 1.0",
            "deploy_agent_runs_total[('hook', 'POST_DEPLOY'), ('status', 'failed')] 1.0",
            "deploy_agent_run_duration_seconds_count[('hook', 'PRE_DEPLOY')] 1.0",
            "deploy_agent_run_duration_seconds_bucket[('hook', 'PRE_DEPLOY'), ('le', '+Inf')] 1.0",
            "deploy_agent_last_run_status[('hook', 'POST_DEPLOY'), ('status', 'failed')] 1.0",
            "deploy_agent_commit_info[('commit', '\(commit)'), ('ref', 'main')] 1.0",
            "deploy_agent_tasks_total[('result', 'ran')] 1.0", "deploy_agent_tasks_total[('result', 'failed')] 1.0",
            "deploy_agent_task_problems_total[] 0.0", "deploy_agent_commit_attempts[] 1.0",
            "deploy_agent_build_info[('version',",
            "deploy_agent_last_successful_check_timestamp_seconds[] 1",
            "deploy_agent_last_successful_deployment_timestamp_seconds[] 1", "process_resident_memory_bytes[] ",
            "process_cpu_seconds_total[] ", "process_start_time_seconds[] 1",
        ] {
            #expect(families.contains(expected), "\(expected) is missing in \(families)")
        }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 0)
        let again = try start(settings)
        try await until("it is ready", details: { again.errors }) { try await get("/readyz")?.code == 200 }
        #expect(try await metric("deploy_agent_last_run_status{hook=\"POST_DEPLOY\",status=\"failed\"}") == "1")
    }

    @Test("a port that is taken is a warning, never the end", arguments: ["run", "exec"])
    func takenPort(way: String) async throws {
        let first = try start(["POST_DEPLOY_COMMAND": "touch $OUT/first"])
        try await until("the first one runs", details: { first.errors }) { box.has("first") }
        let other = ["WORKSPACE_PATH": box.root + "/ws2", "AGENT_STATE_DIR": box.root + "/state2"]
        let second =
            way == "run"
            ? try start(other.merging(["POST_DEPLOY_COMMAND": "touch $OUT/second"]) { $1 }, "run")
            : try start(other, "exec", "--", "sh", "-c", "touch $OUT/second")
        try await until("the second one works", details: { second.errors }) { box.has("second") }
        #expect(second.errors.contains("WARN") && second.errors.contains("DEV_HEALTH_PORT"))
        #expect(second.errors.contains(":\(port): Address already in use;"), "\(second.errors)")
    }

    @Test("an address that is not this host's is a warning that names the setting")
    func foreignAddress() async throws {
        // Of the block for documentation (RFC 5737): nobody's.
        let program = try start(["AGENT_HTTP_HOST": "192.0.2.1", "POST_DEPLOY_COMMAND": "touch $OUT/done"])
        try await until("it has deployed", details: { program.errors }) { box.has("done") }
        #expect(program.errors.contains("AGENT_HTTP_HOST") && !program.errors.contains("DEV_HEALTH_PORT"))
    }

    @Test("HEAD is answered as GET is; another method is refused with those that are allowed")
    func methods() async throws {
        let program = try start(["AGENT_WEBHOOK_SECRET": "s3cret"])
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        for path in ["/dev_health", "/livez", "/readyz", "/metrics"] {
            let answer = try await head("-I", path: path)
            #expect(answer.hasPrefix("http/1.1 200 ") && answer.contains("\ncontent-length: "), "\(path): \(answer)")
            let refused = try await head("-X", "POST", path: path)
            #expect(
                refused.hasPrefix("http/1.1 405 ") && refused.contains("\nallow: get, head\n"), "\(path): \(refused)")
        }
        let refused = try await head(path: "/webhook")
        #expect(refused.hasPrefix("http/1.1 405 ") && refused.contains("\nallow: post\n"), "\(refused)")
        #expect(try await head("-I", path: "/nothing").hasPrefix("http/1.1 404 "))
    }

    @Test("ENABLE_DEV_HEALTH=false listens to nothing")
    func disabled() async throws {
        let program = try start(["ENABLE_DEV_HEALTH": "false", "POST_DEPLOY_COMMAND": "touch $OUT/done"])
        try await until("it has deployed", details: { program.errors }) { box.has("done") }
        let answer = try await get("/dev_health")
        #expect(answer == nil)
    }

    @Test("500 idle connections and slow clients neither stop the checks nor other clients")
    func crowd() async throws {
        let program = try start(["GITHUB_SYNC_INTERVAL": "200ms", "POST_DEPLOY_COMMAND": "echo x >> $OUT/post"])
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        let crowd = try box.start(program: [
            "python3", "-c",
            """
            import socket, time, os
            all = [socket.create_connection(("127.0.0.1", \(port))) for _ in range(500)]
            for s in all[:100]: s.send(b"GET /livez HTT")
            open(os.environ["OUT"] + "/crowd", "w")
            time.sleep(60)
            """,
        ])
        try await until("all are connected", details: { crowd.errors }) { box.has("crowd") }
        try await box.commit()
        try await until("the next commit is deployed", details: { program.errors }) { box.lines("post").count == 2 }
        #expect(try await get("/livez")?.code == 200)
    }

    /// Opens connections, says the same on each, and goes on saying a byte on each until it is ended.
    private static let crowd = """
        import os, socket, sys, time
        port, count, first = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode().decode("unicode_escape").encode()
        connections = []
        for _ in range(count):
            connections.append(socket.create_connection(("127.0.0.1", port)))
            if first: connections[-1].sendall(first)
        open(os.environ["OUT"] + "/crowd", "w")
        for _ in range(60):
            time.sleep(1)
            for connection in connections if first else []:
                try: connection.send(b"x")
                except OSError: pass
        """

    private func crowd(of count: Int, saying first: String = "") async throws {
        let crowd = try box.start(
            program: ["python3", "-c", Self.crowd, port, "\(count)", first], limit: "ulimit -Sn 4096")
        try await until("all are connected", details: { crowd.errors }) { box.has("crowd") }
    }

    @Test("connections take no descriptors that the work needs")
    func descriptors() async throws {
        let program = try start(["POST_DEPLOY_COMMAND": "echo x >> $OUT/post"], limit: "ulimit -Sn 256")
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        try await crowd(of: 400)
        try await box.commit()
        try await until("the next commit is deployed", details: { program.errors }) { box.lines("post").count == 2 }
        #expect(try await get("/livez")?.code == 200)
        #expect(program.code == nil)
    }

    @Test("clients that never finish their requests keep nobody else out")
    func slowRequests() async throws {
        let program = try start(["AGENT_WEBHOOK_SECRET": "s3cret"], limit: "ulimit -Sn 4096")
        try await until("it is ready", details: { program.errors }) { try await get("/readyz")?.code == 200 }
        try await crowd(
            of: 1100,
            saying: #"POST /webhook HTTP/1.1\r\nHost: a\r\nX-Gitlab-Token: no\r\nContent-Length: 1000\r\n\r\n"#)
        #expect(try await get("/livez")?.code == 200)
    }
}

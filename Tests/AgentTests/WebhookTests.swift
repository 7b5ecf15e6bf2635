import Foundation
import Glibc
import Testing

/// `POST /webhook`, by a real sender that signs.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct WebhookTests {
    let box: Box
    let port: String

    init() async throws {
        box = try await Box()
        port = try await box.freePort()
        try box.write(Self.sender, to: box.root + "/send.py")
    }

    /// `send.py PORT SECRET BODY [NAME:VALUE…]`: prints the status code.
    private static let sender = """
        import hashlib, hmac, http.client, sys, uuid
        port, secret, body = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
        headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": str(uuid.uuid4()), "Content-Type": "application/json",
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
        for header in sys.argv[4:]:
            name, value = header.split(":", 1)
            if value: headers[name] = value
            else: headers.pop(name, None)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/webhook", body, headers)
        print(connection.getresponse().status)
        """

    private func start(_ settings: [String: String] = [:], _ arguments: String...) throws -> Program {
        try box.start(
            program: [agentBinary] + (arguments.isEmpty ? ["run"] : arguments),
            [
                "ENABLE_DEV_HEALTH": "true", "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
                "AGENT_WEBHOOK_SECRET": "s3cret", "GITHUB_SYNC_INTERVAL": "1h", "GITHUB_BRANCH": "main",
                "POST_DEPLOY_COMMAND": "echo $DEPLOY_TRIGGER >> $OUT/post",
            ].merging(settings) { $1 })
    }

    private func deployed(_ count: Int, _ program: Program) async throws {
        try await box.atRest(after: count, program)
    }

    private func send(
        body: String = #"{"ref":"refs/heads/main"}"#, secret: String = "s3cret", _ headers: String...
    ) async throws -> Int {
        let ended = try await box.start(program: ["python3", "send.py", port, secret, body] + headers).ended()
        return Int(ended.output.trimmingCharacters(in: .newlines)) ?? -1
    }

    @Test("a push to the followed ref starts a check at once, whoever signs it")
    func push() async throws {
        let program = try start()
        try await deployed(1, program)
        try await box.commit()
        #expect(try await send() == 202)
        try await deployed(2, program)
        try await box.commit()
        #expect(
            try await send(
                "X-Hub-Signature-256:", "X-GitHub-Event:", "X-Gitlab-Event:Push Hook", "X-Gitlab-Token:s3cret") == 202)
        try await deployed(3, program)
        #expect(box.lines("post") == ["startup", "webhook", "webhook"])
    }

    @Test("a push does not let go of the commit that was rolled back from; the next commit does")
    func held() async throws {
        let program = try start()
        try await deployed(1, program)
        let first = try await box.head()
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await send() == 202)
        try await deployed(2, program)
        #expect(try await box.agent("rollback").code == 0)
        try await deployed(3, program)
        #expect(try await box.head() == first)
        let before = try await box.json("status")["last_check"].string ?? ""
        #expect(try await send() == 202)
        try await until("the push was looked at", details: { program.errors }) {
            try await box.json("status")["last_check"].string ?? "" > before
        }
        #expect(try await box.history().count == 3)
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await send() == 202)
        try await deployed(4, program)
        #expect(box.text(box.workspace + "/app.txt") == "v3\n")
    }

    @Test("what is no such push is answered and ignored, what is not signed is refused")
    func others() async throws {
        let program = try start()
        try await deployed(1, program)
        let commit = try await box.commit()
        #expect(try await send(body: #"{"ref":"refs/heads/other"}"#) == 202)
        #expect(try await send(body: "{}", "X-GitHub-Event:ping") == 200)
        #expect(try await send(body: "{}", "X-GitHub-Event:issues") == 202)
        #expect(try await send(body: "no json") == 400)
        #expect(try await send(secret: "wrong") == 401)
        #expect(try await send("X-Hub-Signature-256:") == 401)
        // None of them has started a check: the commit is deployed by the first push only, and its repetition is ignored.
        #expect(box.lines("post") == ["startup"])
        #expect(try await send("X-GitHub-Delivery:one") == 202)
        try await deployed(2, program)
        #expect(try await box.head() == commit)
        let later = try await box.commit()
        #expect(try await send("X-GitHub-Delivery:one") == 202)
        #expect(try await send("X-GitHub-Delivery:two") == 202)
        try await deployed(3, program)
        #expect(try await box.head() == later)
    }

    @Test("a push is answered within a second while a hook runs, and deployed right after it")
    func whileAHookRuns() async throws {
        let program = try start(["PRE_DEPLOY_COMMAND": "touch $OUT/pre; " + Hooks.await_("go")])
        try await until("PRE_DEPLOY runs", details: { program.errors }) { box.has("pre") }
        let later = try await box.commit()
        let took = try await box.sh(
            """
            body='{"ref":"refs/heads/main"}'
            sign=$(printf %s "$body" | openssl dgst -sha256 -hmac s3cret | sed 's/.* //')
            # The best of some: a machine under load may hold any one of them up for a second.
            for n in 1 2 3 4 5; do
                took=$(curl -s -o /dev/null -w '%{http_code} %{time_total}' -H 'X-GitHub-Event: push' -H "X-GitHub-Delivery: $n" \
                    -H 'Content-Type: application/json' -H "X-Hub-Signature-256: sha256=$sign" -d "$body" \
                    http://127.0.0.1:\(port)/webhook)
                case $took in "202 0."*) break ;; esac
            done
            echo "$took"
            """)
        let parts = took.split(separator: " ")
        #expect(parts.first == "202" && (Double(parts.last ?? "") ?? .infinity) < 1, "\(took)")
        try box.touch("go")
        try await until("both are deployed", details: { program.errors }) { box.lines("post").count == 2 }
        #expect(try await box.head() == later)
    }

    @Test("without a secret there is no webhook; a secret file is read anew for every delivery")
    func secrets() async throws {
        let none = try start(["AGENT_WEBHOOK_SECRET": ""])
        try await deployed(1, none)
        #expect(try await send() == 404)
        try await none.send(SIGTERM)
        #expect(try await none.ended().code == 0)
        try box.write("first\n", to: box.root + "/secret")
        let program = try start(["AGENT_WEBHOOK_SECRET": "", "AGENT_WEBHOOK_SECRET_FILE": box.root + "/secret"])
        try await until("it answers", details: { program.errors }) { try await send(secret: "first") == 202 }
        // In one step: the first check may read it just now, and an empty one would be a wrong setting.
        try await box.sh("echo second > next; mv next secret")
        let first = try await send(secret: "first")
        let second = try await send(secret: "second")
        #expect(first == 401, "\(program.errors)")
        #expect(second == 202, "\(program.errors)")
    }

    @Test("a body over 25 MiB is refused, also when its length is not said")
    func tooLarge() async throws {
        let program = try start()
        try await deployed(1, program)
        let codes = try await box.sh(
            """
            head -c 27000000 /dev/zero > big
            send() {
                curl -s -o /dev/null -w '%{http_code} ' -H 'Expect:' -H 'X-Gitlab-Token: s3cret' "$@" --data-binary @big \
                    http://127.0.0.1:\(port)/webhook || true
            }
            send; send -H 'Transfer-Encoding: chunked'
            """)
        #expect(codes == "413 413 ")
    }

    @Test("a flood of good and bad deliveries: memory bounded, checks go on, one at a time, and the app goes on")
    func flood() async throws {
        let program = try start(
            ["GITHUB_SYNC_INTERVAL": "500ms"], "exec", "--", "sh", "-c",
            "while :; do echo x >> $OUT/app; sleep 0.02; done")
        try await deployed(1, program)
        let before = box.lines("app").count
        let pid = try await program.started()
        let script = """
            import hashlib, hmac, http.client, threading, os
            good = b'{"ref":"refs/heads/main"}'
            sign = "sha256=" + hmac.new(b"s3cret", good, hashlib.sha256).hexdigest()
            codes = {}
            def work(number):
                connection = http.client.HTTPConnection("127.0.0.1", \(port), timeout=30)
                for i in range(250):
                    bad = i % 2
                    body = b"x" * 20000 if bad else good
                    connection.request("POST", "/webhook", body, {"X-Hub-Signature-256": sign, "X-GitHub-Event": "push",
                        "X-GitHub-Delivery": "%d-%d" % (number, i)})
                    response = connection.getresponse(); response.read()
                    codes[response.status] = codes.get(response.status, 0) + 1
            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for t in threads: t.start()
            for t in threads: t.join()
            print(sorted(codes))
            """
        let ended = try await box.start(program: ["python3", "-c", script]).ended()
        #expect(ended.output == "[202, 401]\n", "\(ended)")
        #expect(box.lines("app").count > before + 10, "the app stood still")
        try await box.commit()
        try await deployed(2, program)
        let peak = Processes.peakMemory(pid) ?? .max
        #expect(peak < 200 * 1024, "\(peak) KiB")
    }

    /// `slow.py PORT HEADER LENGTH…`: a delivery a length, each sending a byte now and then, until the last of them is
    /// answered; prints that status code.
    private static let slow = """
        import os, select, socket, sys, time
        connections = []
        for length in sys.argv[3:]:
            connections.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
            head = "POST /webhook HTTP/1.1\\r\\nHost: a\\r\\n%s\\r\\nContent-Length: %s\\r\\n\\r\\n" % (sys.argv[2], length)
            connections[-1].sendall(head.encode())
        until = time.monotonic() + 60
        rounds = 0
        while time.monotonic() < until:
            if select.select(connections[-1:], [], [], 0.2)[0]: break
            rounds += 1
            # By then each has been heard, as far as waiting can tell.
            if rounds == 3: open(os.environ["OUT"] + "/slow", "w")
            for connection in connections:
                try: connection.send(b"x")
                except OSError: pass
        print(connections[-1].recv(100).split()[1].decode())
        """

    private func slow(_ lengths: String..., header: String = "X-Gitlab-Token: s3cret") throws -> Program {
        try box.start(program: ["python3", "-c", Self.slow, port, header] + lengths)
    }

    @Test("a delivery that never arrives does not keep the process from ending", arguments: ["run", "exec"])
    func end(way: String) async throws {
        let program =
            way == "run"
            ? try start() : try start([:], "exec", "--", "sh", "-c", "until test -e $OUT/go; do sleep 0.05; done")
        try await deployed(1, program)
        let slow = try slow("1000")
        try await until("a delivery is under way", details: { slow.errors }) { box.has("slow") }
        if way == "run" { try await program.send(SIGTERM) } else { try box.touch("go") }
        // The deadline of a delivery would end it too, later.
        #expect(try await program.ended(within: 9).code == 0)
    }

    @Test("slow deliveries do not keep others out, however long they say they are")
    func slowOnes() async throws {
        let program = try start()
        try await deployed(1, program)
        let slow = try slow("26214400", "26214400", "14680064")
        try await until("deliveries are under way", details: { slow.errors }) { box.has("slow") }
        #expect(try await send() == 202)
    }

    @Test("a delivery that does not arrive in time is ended with 408")
    func deadline() async throws {
        let program = try start()
        try await deployed(1, program)
        #expect(try await slow("1000").ended(within: 30).output == "408\n")
    }

    @Test(
        "what is not signed is refused before its body has come",
        arguments: ["X-Other: s3cret", "X-Hub-Signature-256: sha256=zz"])
    func unsigned(header: String) async throws {
        let program = try start()
        try await deployed(1, program)
        #expect(try await slow("1000", header: header).ended(within: 30).output == "401\n")
    }

    @Test("a push too large to be read starts a check all the same; memory stays small")
    func largePush() async throws {
        let program = try start()
        try await deployed(1, program)
        let pid = try await program.started()
        try await box.commit()
        let script = """
            import hashlib, hmac, http.client
            body = b'{"x":[' + b"1," * 11000000 + b'1],"ref":"refs/heads/main"}'
            connection = http.client.HTTPConnection("127.0.0.1", \(port), timeout=60)
            connection.request("POST", "/webhook", body, {"X-GitHub-Event": "push",
                "X-Hub-Signature-256": "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()})
            print(connection.getresponse().status)
            """
        let sent = try await box.start(program: ["python3", "-c", script]).ended()
        #expect(sent.output == "202\n", "\(sent)")
        try await deployed(2, program)
        let peak = Processes.peakMemory(pid) ?? .max
        #expect(peak < 120 * 1024, "\(peak) KiB")
    }
}

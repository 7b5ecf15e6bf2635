import Foundation
import Glibc
import Testing

/// `agent exec`: the app's course, from its start to the exit code.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct ExecTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func exec(_ settings: [String: String] = [:], _ app: String...) throws -> Program {
        try box.start(program: [agentBinary, "exec"] + (app.isEmpty ? [] : ["--", "sh", "-c"] + app), settings)
    }

    // MARK: - The start

    @Test("PRE_DEPLOY comes before the app, the app before POST_DEPLOY, all in the workspace's new commit")
    func order() async throws {
        let program = try exec(
            [
                "PRE_DEPLOY_COMMAND": "echo pre >> $OUT/order",
                // The app is started before, and takes its time.
                "POST_DEPLOY_COMMAND": "until grep -q app $OUT/order; do sleep 0.01; done; echo post >> $OUT/order",
            ],
            "echo app $DEPLOY_COMMIT $(cat app.txt) $PWD $AGENT_STATE_DIR >> $OUT/order; "
                + Hooks.await_("go") + "exit 7")
        try await until("the hooks have run", details: { program.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
        let commit = try await box.head()
        #expect(box.lines("order") == ["pre", "app \(commit) v1 \(box.workspace)", "post"])
        let started = try #require(program.errors.firstRange(of: "app started"))
        let post = try #require(program.errors.firstRange(of: "POST_DEPLOY:"))
        #expect(started.lowerBound < post.lowerBound)
        try box.touch("go")
        #expect(try await program.ended().code == 7)
        let deployment = try await box.history().first
        #expect(deployment?["status"].string == "succeeded" && deployment?["trigger"].string == "startup")
    }

    @Test("a strict PRE_DEPLOY failure at the start: the app never starts, exit code 1")
    func gate() async throws {
        let ended = try await exec(["PRE_DEPLOY_COMMAND": "exit 3"], "touch $OUT/app").ended()
        #expect(ended.code == 1 && !box.has("app"), "\(ended)")
        #expect(try await box.history().map { $0["status"].string } == ["failed"])
    }

    @Test("a strict POST_DEPLOY failure at the start stops the app, exit code 1")
    func postFails() async throws {
        let ended = try await exec(
            ["POST_DEPLOY_COMMAND": Hooks.await_("app") + "exit 3", "POST_DEPLOY_MODE": "strict"],
            "trap 'touch $OUT/stopped; exit 0' TERM; touch $OUT/app; while :; do sleep 0.05; done"
        ).ended()
        #expect(ended.code == 1 && box.has("stopped"), "\(ended)")
    }

    @Test("a POST_DEPLOY that defers is tried again beside the app, which goes on")
    func postDefers() async throws {
        let program = try exec(
            [
                "POST_DEPLOY_COMMAND": "echo x >> $OUT/post; test $(wc -l < $OUT/post) -gt 1 || exit 75",
                "GITHUB_SYNC_INTERVAL": "300ms", "AGENT_START_TIMEOUT": "100ms",
            ], "echo x >> $OUT/app; " + Hooks.await_("go") + "exit 0")
        try await until("it was tried again", details: { program.errors }) {
            try await box.history().first?["status"].string == "succeeded" && !box.lines("app").isEmpty
        }
        #expect(box.lines("app").count == 1 && box.lines("post").count == 2)
        try box.touch("go")
        #expect(try await program.ended().code == 0)
    }

    @Test("a PRE_DEPLOY that defers at the start is tried again, then 75")
    func preDefers() async throws {
        let ended = try await exec(
            ["PRE_DEPLOY_COMMAND": "echo x >> $OUT/pre; exit 75", "AGENT_START_TIMEOUT": "6s"], "touch $OUT/app"
        ).ended()
        #expect(ended.code == 75 && !box.has("app") && box.lines("pre").count >= 2, "\(ended)")
    }

    @Test("a lenient POST_DEPLOY failure leaves the app running")
    func lenientPost() async throws {
        let program = try exec(["POST_DEPLOY_COMMAND": "touch $OUT/post; exit 3"], Hooks.await_("go") + "exit 0")
        try await until("it is recorded", details: { program.errors }) {
            try await box.history().first?["status"].string == "succeeded"
        }
        try box.touch("go")
        #expect(try await program.ended().code == 0)
    }

    @Test("a start runs the hooks although the commit is deployed; with AGENT_ON_START=changed it does not")
    func onStart() async throws {
        let settings = ["PRE_DEPLOY_COMMAND": "echo pre >> $OUT/pre"]
        for expected in [1, 2] {
            #expect(try await exec(settings, "touch $OUT/app").ended().code == 0)
            #expect(box.lines("pre").count == expected)
        }
        box.remove("app")
        let changed = settings.merging(["AGENT_ON_START": "changed"]) { $1 }
        #expect(try await exec(changed, "touch $OUT/app").ended().code == 0)
        #expect(box.lines("pre").count == 2 && box.has("app"))
        // The sidecar's default is the other way round.
        let sidecar = try box.start("run", settings: settings.merging(["AGENT_ON_START": "always"]) { $1 })
        try await until("the sidecar deploys at its start", details: { sidecar.errors }) { box.lines("pre").count == 3 }
    }

    @Test("without a checkout an unreachable remote is tried again for AGENT_START_TIMEOUT, then 69")
    func unreachable() async throws {
        let ended = try await exec(
            ["GITHUB_REPO_URL": "file://" + box.root + "/none.git", "AGENT_START_TIMEOUT": "6s"], "touch $OUT/app"
        ).ended()
        #expect(ended.code == 69 && !box.has("app") && ended.errors.contains("tried again"), "\(ended)")
    }

    @Test("the checkout that is there is used, with its hooks and a warning, when the remote is unreachable")
    func offline() async throws {
        #expect(try await box.once().outcome == "deployed")
        try await box.sh("mv up.git gone.git")
        let ended = try await exec(["PRE_DEPLOY_COMMAND": "touch $OUT/pre"], "cat app.txt > $OUT/app").ended()
        #expect(ended.code == 0 && box.lines("app") == ["v1"] && box.has("pre"), "\(ended)")
        #expect(ended.errors.contains("WARN") && ended.errors.contains("the checkout that is there is used"))
    }

    @Test("a wrong setting: 78, nothing runs")
    func misconfigured() async throws {
        let ended = try await exec(["AGENT_ON_DEPLOY": "signal:NONE"], "touch $OUT/app").ended()
        #expect(ended.code == 78 && !box.has("app") && ended.errors.contains("AGENT_ON_DEPLOY"), "\(ended)")
    }

    // MARK: - What is started

    @Test("without a command: DEV_START_COMMAND, else dev_startup.sh, else startup.sh, else a clear error")
    func command() async throws {
        let nothing = try await exec().ended()
        #expect(nothing.code == 64 && nothing.errors.contains("DEV_START_COMMAND"), "\(nothing)")
        try await box.commit(["startup.sh": "echo startup > $OUT/app"])
        #expect(try await exec().ended().code == 0)
        #expect(box.lines("app") == ["startup"])
        try await box.commit(["dev_startup.sh": "echo dev > $OUT/app"])
        #expect(try await exec().ended().code == 0)
        #expect(box.lines("app") == ["dev"])
        #expect(try await exec(["DEV_START_COMMAND": "echo set > $OUT/app; exit 4"]).ended().code == 4)
        #expect(box.lines("app") == ["set"])
    }

    @Test("APP_DIR is the app's working directory; one that is no folder is a clear error")
    func folder() async throws {
        try await box.commit(["web/x": "1"])
        #expect(try await exec(["APP_DIR": "web"], "pwd > $OUT/app").ended().code == 0)
        #expect(box.lines("app") == [box.workspace + "/web"])
        let ended = try await exec(["APP_DIR": "none"], "pwd > $OUT/app").ended()
        #expect(ended.code == 78 && ended.errors.contains("APP_DIR"), "\(ended)")
    }

    @Test(
        "the app's end is the agent's: its code, 128+N, 127 not found, 126 not executable",
        arguments: [
            (["sh", "-c", "exit 42"], 42), (["sh", "-c", "kill -9 $$"], 137), (["no-such-program"], 127),
            (["./app.txt"], 126), (["sh", "-c", "kill -TERM $$"], 143), (["./none"], 127),
        ])
    func exitCodes(app: [String], code: Int) async throws {
        let ended = try await box.start(program: [agentBinary, "exec", "--"] + app).ended()
        #expect(ended.code == code, "\(ended)")
    }

    @Test("hooks that run when the app ends are ended and recorded")
    func appEndsFirst() async throws {
        let ended = try await exec(
            ["POST_DEPLOY_COMMAND": "touch $OUT/post; sleep 1000"], Hooks.await_("post") + "exit 5"
        ).ended()
        #expect(ended.code == 5, "\(ended)")
        #expect(try await box.history().first?["status"].string == "interrupted")
        #expect(box.survivors().isEmpty)
    }

    // MARK: - Readiness

    @Test("POST_DEPLOY waits for the port, and runs with a warning when nothing comes")
    func waits() async throws {
        let port = try await box.freePort()
        let server =
            "import socket,time; s=socket.socket(); s.setsockopt(1,2,1); time.sleep(0.4); open('\(box.out)/listening','w'); "
            + "s.bind(('127.0.0.1',\(port))); s.listen(); time.sleep(1000)"
        let program = try box.start(
            program: [agentBinary, "exec", "--", "python3", "-c", server],
            ["POST_DEPLOY_COMMAND": "test -e $OUT/listening && touch $OUT/post", "POST_DEPLOY_WAIT_FOR": "tcp:\(port)"])
        try await until("POST_DEPLOY has run", details: { program.errors }) { box.has("post") }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 143)
        let ended = try await exec(
            [
                "POST_DEPLOY_COMMAND": "touch $OUT/late", "POST_DEPLOY_WAIT_FOR": "tcp:1",
                "POST_DEPLOY_WAIT_TIMEOUT": "300ms",
            ], Hooks.await_("late")
        ).ended()
        #expect(ended.code == 0 && ended.errors.contains("POST_DEPLOY_WAIT_TIMEOUT"), "\(ended)")
    }

    @Test("POST_DEPLOY waits until a URL answers with 2xx or 3xx")
    func waitsForURL() async throws {
        let port = try await box.freePort()
        try box.write(
            """
            import http.server, sys
            asked = [0]
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    asked[0] += 1
                    self.send_response(503 if asked[0] < 3 else 302)
                    self.send_header("Location", "/nowhere"); self.send_header("Content-Length", "0")
                    with open("\(box.out)/asked", "w") as f: f.write(str(asked[0]) + self.path)
                    self.end_headers()
                def log_message(self, *_): pass
            http.server.HTTPServer(("127.0.0.1", \(port)), Handler).serve_forever()
            """, to: box.root + "/app.py")
        let program = try box.start(
            program: [agentBinary, "exec", "--", "python3", box.root + "/app.py"],
            [
                "POST_DEPLOY_COMMAND": "cp $OUT/asked $OUT/copy; mv $OUT/copy $OUT/post",
                "POST_DEPLOY_WAIT_FOR": "http://127.0.0.1:\(port)/health",
            ])
        try await until("POST_DEPLOY has run", details: { program.errors }) { box.has("post") }
        #expect(box.lines("post") == ["3/health"], "it asked until the answer was good, and did not follow it")
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 143)
    }

    // MARK: - Later commits

    @Test(
        "a later commit: the app goes on, is restarted, or gets a signal",
        arguments: ["none", "restart", "signal:USR1"])
    func onDeploy(mode: String) async throws {
        let program = try exec(
            [
                "AGENT_ON_DEPLOY": mode, "GITHUB_SYNC_INTERVAL": "200ms",
                "POST_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/post",
            ],
            "trap 'echo usr1 >> $OUT/app' USR1; echo start $DEPLOY_COMMIT >> $OUT/app; while :; do sleep 0.05; done")
        let first = try await box.head(of: box.work)
        try await until("the first commit is deployed", details: { program.errors }) { box.lines("post") == [first] }
        let second = try await box.commit()
        try await until("the second one, too", details: { program.errors }) { box.lines("post").last == second }
        let expected: [String]
        switch mode {
        case "restart": expected = ["start \(first)", "start \(second)"]
        case "none": expected = ["start \(first)"]
        default: expected = ["start \(first)", "usr1"]
        }
        try await until("the app has heard of it", details: { "\(box.lines("app"))" }) { box.lines("app") == expected }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 143)
        #expect(box.survivors().isEmpty)
    }

    @Test("AGENT_KEEP_ALIVE keeps checking after the app failed; the next commit starts it again")
    func keepAlive() async throws {
        let program = try exec(
            ["AGENT_KEEP_ALIVE": "true", "GITHUB_SYNC_INTERVAL": "200ms"],
            "echo x >> $OUT/starts; test $(wc -l < $OUT/starts) -gt 1 || exit 9; exit 0")
        try await until("the app has failed", details: { program.errors }) {
            program.errors.contains("AGENT_KEEP_ALIVE: the container stays up")
        }
        #expect(program.code == nil)
        try await box.commit()
        #expect(try await program.ended().code == 0)
        #expect(box.lines("starts").count == 2)
    }

    // MARK: - Signals

    @Test(
        "what a user sends reaches the app", arguments: [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH])
    func forwards(signal: Int32) async throws {
        let program = try exec(
            [:],
            "trap 'exit 33' HUP INT QUIT USR1 USR2 ALRM WINCH; touch $OUT/app; while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        try await program.send(signal)
        #expect(try await program.ended().code == 33)
    }

    /// Writes down every signal that it gets, and ends at SIGTERM.
    static let listener = """
        import signal, sys
        signals = signal.valid_signals()
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        out = open(sys.argv[1] + "/heard", "a", buffering=1)
        print("up", file=out)
        while True:
            number = signal.sigwait(signals)
            print(int(number), file=out)
            if number == signal.SIGTERM: sys.exit(7)
        """

    /// All that can be caught but those that are the agent's own; the C library keeps two to itself.
    static let passedOn = (Int32(1)...64).filter { ![SIGKILL, SIGSTOP, SIGCHLD, SIGURG, SIGTERM, 32, 33].contains($0) }

    @Test("every signal that can be caught reaches the app, and SIGTERM after it")
    func forwardsAll() async throws {
        let program = try box.start(
            program: [agentBinary, "exec", "--", "python3", "-c", Self.listener, box.out])
        try await until("the app runs", details: { program.errors }) { box.lines("heard") == ["up"] }
        for number in Self.passedOn {
            try await program.send(number)
            try await until("the app has heard \(number)", details: { program.errors }) {
                box.lines("heard").last == "\(number)"
            }
        }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 7)
        #expect(box.lines("heard") == ["up"] + Self.passedOn.map(String.init) + ["15"])
    }

    @Test(
        "before the app every signal that somebody sends ends the hook and the agent in order",
        arguments: [SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGPWR, SIGTSTP, SIGTTIN, SIGFPE, 34, 37])
    func beforeTheApp(signal: Int32) async throws {
        let program = try exec(
            [
                "PRE_DEPLOY_COMMAND":
                    "trap 'touch $OUT/heard; exit 1' TERM; touch $OUT/pre; while :; do sleep 0.05; done",
                "AGENT_KILL_GRACE": "60",
            ], "touch $OUT/app")
        try await until("PRE_DEPLOY runs", details: { program.errors }) { box.has("pre") }
        try await program.send(signal)
        let ended = try await program.ended()
        #expect(ended.code == 128 + Int(signal) && box.has("heard") && !box.has("app"), "\(ended)")
        #expect(try await box.history().map { $0["status"].string } == ["interrupted"])
    }

    @Test("a signal that comes between two runs of the app reaches the second")
    func betweenTwoRuns() async throws {
        let program = try exec(
            ["AGENT_ON_DEPLOY": "restart", "GITHUB_SYNC_INTERVAL": "200ms", "AGENT_STOP_GRACE": "1h"],
            """
            if test -e $OUT/first; then sleep 0.3; trap 'exit 33' USR1; touch $OUT/second; while :; do sleep 0.05; done; fi
            trap 'touch $OUT/ending; \(Hooks.await_("go")) exit 0' TERM; touch $OUT/first; while :; do sleep 0.05; done
            """)
        try await until("the app runs", details: { program.errors }) { box.has("first") }
        try await box.commit()
        try await until("it is being ended", details: { program.errors }) { box.has("ending") }
        try await program.send(SIGUSR1)
        try box.touch("go")
        let ended = try await program.ended()
        #expect(ended.code == 33 && box.has("second"), "\(ended)")
    }

    @Test("an environment that is too large for the app: 71, and the error names the variable")
    func tooLarge() async throws {
        try await box.commit([
            "appspec.yaml": "envs:\n  - {key: HUGE, value: \(String(repeating: "x", count: 200_000))}\n"
        ])
        let ended = try await exec([:], "touch $OUT/app").ended()
        #expect(ended.code == 71 && ended.errors.contains("HUGE has 200006 bytes"), "\(ended)")
        #expect(!ended.errors.contains("xxxx") && !box.has("app"))
    }

    @Test("SIGTERM ends hooks and app; an app that ignores it is killed after AGENT_STOP_GRACE")
    func terminate() async throws {
        let program = try exec(
            ["POST_DEPLOY_COMMAND": "touch $OUT/post; sleep 1000", "AGENT_STOP_GRACE": "500ms"],
            "trap '' TERM; (trap '' TERM; sleep 1000) & touch $OUT/app; while :; do sleep 0.05; done")
        try await until("both run", details: { program.errors }) { box.has("app") && box.has("post") }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 137)
        #expect(try await box.history().first?["status"].string == "interrupted")
        #expect(box.survivors().isEmpty, "\(box.survivors().map(Processes.commandLine))")
    }

    @Test("a second SIGTERM shortens the grace")
    func second() async throws {
        let program = try exec(
            ["AGENT_STOP_GRACE": "1h"], "trap 'touch $OUT/term' TERM; touch $OUT/app; while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        try await program.send(SIGTERM)
        try await until("the app has had its signal") { box.has("term") }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 137)
    }

    @Test(
        "the app does not get the agent's own credentials unless that is set; hooks do",
        arguments: [false, true])
    func credentials(areShared: Bool) async throws {
        let secrets = ["GITHUB_TOKEN": "tok-tok-tok", "NOTIFY_URL": "http://127.0.0.1:9/x", "NOTIFY_SECRET": "sec-sec"]
        let list = "env | grep -E '^(GITHUB_TOKEN|NOTIFY_|PGPASSWORD)' | sort | cut -d= -f1"
        let program = try exec(
            secrets.merging([
                "PGPASSWORD": "the-apps-own", "AGENT_APP_CREDENTIALS": "\(areShared)",
                "PRE_DEPLOY_COMMAND": "\(list) > $OUT/hook",
            ]) { $1 }, "\(list) > $OUT/app")
        #expect(try await program.ended().code == 0)
        let all = ["GITHUB_TOKEN", "NOTIFY_SECRET", "NOTIFY_URL", "PGPASSWORD"]
        #expect(box.lines("hook") == all)
        // This one is the agent's only where its record is on a server that asks for it.
        #expect(box.lines("app") == (areShared ? all : ["PGPASSWORD"]))
        #expect(program.errors.contains("AGENT_APP_CREDENTIALS=true hands them on") == !areShared)
    }

    @Test("another signal while the app is being ended reaches the app, and the agent ends as the app does")
    func anotherSignal() async throws {
        let program = try exec(
            ["AGENT_STOP_GRACE": "1h"],
            "trap 'touch $OUT/term' TERM; trap 'exit 7' INT; touch $OUT/app; while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        try await program.send(SIGTERM)
        try await until("the app has had its signal") { box.has("term") }
        try await program.send(SIGINT)
        #expect(try await program.ended().code == 7)
    }

    @Test("so it does for what the app has left behind")
    func secondForWorkers() async throws {
        let program = try exec(
            ["AGENT_STOP_GRACE": "1h"],
            "(trap '' TERM; touch $OUT/worker; sleep 1000) & trap 'exit 3' TERM; touch $OUT/app; while :; do sleep 0.05; done"
        )
        try await until("both run", details: { program.errors }) { box.has("app") && box.has("worker") }
        try await program.send(SIGTERM)
        try await until("the app has ended") {
            !box.survivors().contains { Processes.commandLine($0).contains("$OUT/app") }
        }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 3)
        #expect(box.survivors().isEmpty, "\(box.survivors().map(Processes.commandLine))")
    }

    @Test("SIGTERM before the app: the hook is ended, the app never starts")
    func early() async throws {
        let program = try exec(["PRE_DEPLOY_COMMAND": "touch $OUT/pre; sleep 1000"], "touch $OUT/app")
        try await until("PRE_DEPLOY runs", details: { program.errors }) { box.has("pre") }
        try await program.send(SIGTERM)
        #expect(try await program.ended().code == 143)
        #expect(!box.has("app") && box.survivors().isEmpty)
        #expect(try await box.history().first?["status"].string == "interrupted")
    }
}

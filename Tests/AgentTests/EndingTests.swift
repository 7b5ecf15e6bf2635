import Foundation
import Glibc
import Testing

/// How runs are ended: by their deadline and by the agent's own end.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct EndingTests {
    let box: Box

    init() async throws { box = try await Box() }

    @Test(
        "a command ends without taking its libraries apart, which threads may still use",
        arguments: [["run-once"], ["history"], ["--help"], ["--nonsense"], ["show", "99"]])
    func libraries(_ arguments: [String]) async throws {
        // The loader says what it calls at the beginning and at the end.
        let ended = try await box.start(program: [agentBinary] + arguments, ["LD_DEBUG": "libs"]).ended()
        #expect(ended.errors.contains("calling init: ") && !ended.errors.contains("calling fini: "))
    }

    // MARK: - Timeout

    @Test(
        "at its deadline a hook ends with everything it started, however hard that resists",
        arguments: [("PRE", "strict"), ("PRE", "lenient"), ("POST", "strict"), ("POST", "lenient")])
    func timeout(_ hook: String, _ mode: String) async throws {
        let once = try await box.once([
            "\(hook)_DEPLOY_COMMAND": Hooks.stubborn, "\(hook)_DEPLOY_MODE": mode, "\(hook)_DEPLOY_TIMEOUT": "4500ms",
            "AGENT_KILL_GRACE": "300ms",
        ])
        #expect(box.has("ready"), "the hook was too slow to show anything: \(once)")
        #expect(box.survivors().isEmpty, "\(box.survivors().map(Processes.commandLine))")
        let run = try #require(once.runs.first)
        #expect(run["status"].string == "timed_out" && run["timeout_ms"].int == 4500, "\(run)")
        #expect(run["exit_code"].isNull && run["signal"].int == 9, "\(run)")
        #expect(
            run["error_message"].string?.contains("4s500ms") == true
                || run["error_message"].string?.contains("4.5") == true, "\(run)")
        if mode == "strict" {
            #expect(once.code == 1 && once.outcome == "failed" && once.deployment["status"].string == "failed")
        } else {
            #expect(once.code == 0 && once.outcome == "deployed" && once.deployment["warnings"].int == 1)
            #expect(try await box.head() == box.head(of: box.work))
        }
    }

    @Test("at its deadline a hook's orphan with an empty environment and a session of its own is ended too")
    func bareOrphan() async throws {
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND":
                "( setsid env -i sh -c 'trap \"\" TERM; echo $$ > \"$0\"; while :; do sleep 1; done' $OUT/bare & ) ; "
                + Hooks.await_("bare") + "sleep 1000",
            "PRE_DEPLOY_TIMEOUT": "5", "AGENT_KILL_GRACE": "200ms",
        ])
        let bare = try #require(Int32(box.lines("bare").first ?? ""))
        #expect(once.runs.first?["status"].string == "timed_out", "\(once)")
        #expect(!Processes.isAlive(bare))
        kill(bare, SIGKILL)
    }

    @Test("a hook that heeds SIGTERM has its last words in the log")
    func lastWords() async throws {
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND": "trap 'echo last words; exit 3' TERM; touch $OUT/ready; while :; do sleep 0.05; done",
            "PRE_DEPLOY_TIMEOUT": "4",
            "AGENT_KILL_GRACE": "30",
        ])
        let run = try #require(once.runs.first)
        #expect(run["status"].string == "timed_out" && run["exit_code"].int == 3 && run["signal"].isNull, "\(run)")
        #expect(
            run["output_tail"].string?.hasSuffix("last words\n") == true
                && once.ended.errors.contains("[PRE_DEPLOY] last words"))
        #expect((run["duration_ms"].int ?? 0) < 20_000, "the grace was waited for although nothing was left")
    }

    @Test("a timeout counts as a failure against the retries")
    func timeoutCounts() async throws {
        let settings = ["PRE_DEPLOY_COMMAND": "sleep 1000", "PRE_DEPLOY_TIMEOUT": "200ms", "PRE_DEPLOY_RETRIES": "1"]
        #expect(try await box.once(settings).outcome == "failed")
        #expect(try await box.once(settings).deployment["attempt"].int == 2)
        let third = try await box.once(settings)
        #expect(third.code == 0 && third.outcome == "unchanged", "\(third)")
    }

    /// Runs a command without pidfd_open(2), as before Linux 5.3 and in some sandboxes.
    private static let withoutProcessDescriptors = """
        import ctypes, os, struct, sys
        libc = ctypes.CDLL(None, use_errno=True)
        steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 434), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7fff0000)]
        code = b"".join(struct.pack("HBBI", *step) for step in steps)
        buffer = ctypes.create_string_buffer(code)
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(buffer)))
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
        os.execv(sys.argv[1], sys.argv[1:])
        """

    @Test("where the kernel has no process descriptors a timeout ends everything all the same")
    func withoutProcessDescriptors() async throws {
        try box.write(Self.withoutProcessDescriptors, to: box.root + "/without.py")
        let settings = [
            "PRE_DEPLOY_COMMAND": "(trap '' TERM; setsid sleep 1000 &); sleep 1000", "PRE_DEPLOY_TIMEOUT": "300ms",
            "AGENT_KILL_GRACE": "300ms",
        ]
        let ended = try await box.start(
            program: ["python3", "without.py", agentBinary, "run-once", "--json"], settings
        ).ended()
        #expect(ended.code == 1, "\(ended)")
        let deployment = try JSON(ended.output)["deployment"]
        #expect(deployment["runs"][0]["status"].string == "timed_out", "\(ended)")
        #expect((deployment["duration_ms"].int ?? .max) < 8000, "\(ended)")
        #expect(box.survivors().isEmpty, "\(box.survivors().map(Processes.commandLine))")
    }

    // MARK: - The agent's end

    @Test(
        "a stop request during a hook ends and records it, and ends the agent with 0",
        arguments: [SIGTERM, SIGINT], ["PRE", "POST"])
    func stopDuringHook(_ signal: Int32, _ hook: String) async throws {
        let settings = ["\(hook)_DEPLOY_COMMAND": Hooks.stubborn, "AGENT_KILL_GRACE": "300ms"]
        let agent = try box.start("run", settings: settings)
        try await until("the hook runs", details: { agent.errors }) { box.has("ready") }
        try await agent.send(signal)
        let ended = try await agent.ended()
        #expect(ended.code == 0, "\(ended)")
        #expect(box.survivors().isEmpty, "\(box.survivors().map(Processes.commandLine))")
        let all = try await box.history()
        #expect(
            all.count == 1 && all[0]["status"].string == "interrupted" && all[0]["completed_at"].string != nil, "\(all)"
        )
        let shown = try await box.json("show", "\(all[0]["id"])")
        #expect(shown["runs"].items.last?["status"].string == "interrupted", "\(shown)")
        let again = try await box.once(["\(hook)_DEPLOY_COMMAND": "true"])
        #expect(again.outcome == "deployed" && again.deployment["attempt"].int == 2, "\(again)")
    }

    @Test(
        "whatever signal an image names to stop it with, run ends in order at it",
        arguments: [SIGQUIT, SIGUSR1, SIGUSR2, SIGPWR, SIGALRM, SIGIO, SIGABRT, SIGSEGV, SIGTSTP, SIGWINCH, 34, 37, 64])
    func otherSignals(_ signal: Int32) async throws {
        let agent = try box.start(
            "run",
            settings: [
                "PRE_DEPLOY_COMMAND":
                    "trap 'touch $OUT/heard; exit 1' TERM; touch $OUT/ready; while :; do sleep 0.05; done",
                "AGENT_KILL_GRACE": "60",
            ])
        try await until("the hook runs", details: { agent.errors }) { box.has("ready") }
        try await agent.send(signal)
        let ended = try await agent.ended()
        #expect(ended.code == 0 && box.has("heard"), "\(ended)")
        #expect(try await box.history().map { $0["status"].string } == ["interrupted"])
    }

    @Test(
        "SIGTERM to hook and agent at the same moment: the hook is interrupted, whichever of them has it first",
        arguments: [true, false], ["hook", "task"])
    func stopToAll(_ hookFirst: Bool, _ kind: String) async throws {
        let command = "echo $$ > $OUT/new; mv $OUT/new $OUT/pid; exec sleep 1000"
        if kind == "task" { try await box.commit(["deploy.yaml": "tasks:\n  - {id: once, run: \"\(command)\"}\n"]) }
        let agent = try box.start(
            "run", settings: [kind == "task" ? "OTHER" : "PRE_DEPLOY_COMMAND": command, "PRE_DEPLOY_RETRIES": "0"])
        try await until("it runs", details: { agent.errors }) { box.has("pid") }
        let processes = [try #require(Int32(box.lines("pid")[0])), try await agent.started()]
        for process in hookFirst ? processes : processes.reversed() { kill(process, SIGTERM) }
        let ended = try await agent.ended()
        #expect(ended.code == 0, "\(ended)")
        let deployment = try #require(try await box.history().first)
        let runs = try await box.json("show", "\(deployment["id"])")["runs"].items
        #expect(runs.last?["status"].string == "interrupted" && runs.last?["signal"].int == 15, "\(runs)")
        #expect(kind == "task" || deployment["status"].string == "interrupted")
    }

    @Test("a hook that a signal ends is a failure where nobody stops the agent")
    func hookKilled() async throws {
        let once = try await box.once(["PRE_DEPLOY_COMMAND": "kill -TERM $$"])
        #expect(once.outcome == "failed" && once.runs.first?["signal"].int == 15, "\(once)")
    }

    /// Runs a command with every signal ignored and blocked that can be.
    static let deaf = """
        import os, signal, sys
        for number in signal.valid_signals():
            try: signal.signal(number, signal.SIG_IGN)
            except OSError: pass
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        os.execv(sys.argv[1], sys.argv[1:])
        """

    @Test(
        "a parent that ignores and blocks every signal keeps neither hooks from running nor the agent from being stopped"
    )
    func deafParent() async throws {
        try await box.commit(["deploy.yaml": "tasks:\n  - {id: once, run: \"echo x >> $OUT/task\"}\n"])
        let agent = try box.start(
            program: ["python3", "-c", Self.deaf, agentBinary, "run"],
            [
                "PRE_DEPLOY_COMMAND":
                    "grep -E 'Sig(Ign|Blk)' /proc/self/status > $OUT/signals; (sleep 1000 & echo $! > $OUT/left)",
                "POST_DEPLOY_COMMAND": "touch $OUT/post; exec sleep 1000",
            ])
        try await until("POST_DEPLOY runs", details: { agent.errors }) { box.has("post") }
        #expect(box.lines("task") == ["x"])
        let left = try #require(Int32(box.lines("left").first ?? ""))
        #expect(Processes.isAlive(left), "what a successful hook leaves behind lives on")
        kill(left, SIGKILL)
        #expect(
            box.lines("signals").map { $0.hasSuffix("\t0000000000000000") } == [true, true], "\(box.lines("signals"))")
        try await agent.send(SIGTERM)
        let ended = try await agent.ended()
        #expect(ended.code == 0, "\(ended)")
        #expect(try await box.history().map { $0["status"].string } == ["interrupted"])
    }

    @Test("an interrupted deployment does not count against the retries")
    func interruptedDoesNotCount() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": "touch $OUT/ready; test -e $OUT/fail && exit 1; sleep 1000",
            "PRE_DEPLOY_RETRIES": "0",
        ]
        let agent = try box.start("run", settings: settings)
        try await until("the hook runs") { box.has("ready") }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        try box.touch("fail")
        #expect(try await box.once(settings).outcome == "failed")
        #expect(try await box.once(settings).outcome == "unchanged", "the one failure used up the retries")
    }

    @Test("a stop request during run-once's hook ends and records it, and ends with 0")
    func stopDuringOnce() async throws {
        let agent = try box.start(
            "run-once",
            settings: ["PRE_DEPLOY_COMMAND": "touch $OUT/ready; sleep 1000", "POST_DEPLOY_COMMAND": "touch $OUT/post"])
        try await until("the hook runs") { box.has("ready") }
        try await agent.send(SIGTERM)
        let ended = try await agent.ended()
        #expect(ended.code == 0, "\(ended)")
        #expect(!box.has("post") && box.survivors().isEmpty)
        #expect(try await box.history().first?["status"].string == "interrupted")
    }

    @Test("a stop request while idle ends at once", arguments: [SIGTERM, SIGINT])
    func stopWhileIdle(_ signal: Int32) async throws {
        let agent = try box.start("run", settings: ["GITHUB_SYNC_INTERVAL": "1h"])
        try await until("it waits for the next check") { try await box.json("status")["next_check"].string != nil }
        let begin = ContinuousClock.now
        try await agent.send(signal)
        #expect(try await agent.ended().code == 0)
        // The next check is an hour away.
        #expect(ContinuousClock.now - begin < .seconds(20))
    }

    @Test("a stop request while waiting for another agent ends at once")
    func stopWhileWaiting() async throws {
        let holder = try box.start("run", settings: ["PRE_DEPLOY_COMMAND": "sleep 1000", "AGENT_KILL_GRACE": "100ms"])
        try await until("the hook runs") { try await box.history().count == 1 }
        let waiting = try box.start("run")
        try await until("it waits") { waiting.errors.contains("waiting") }
        try await waiting.send(SIGTERM)
        #expect(try await waiting.ended().code == 0)
        #expect(holder.code == nil)
    }

    @Test("a stop request while the remote does not answer ends at once, git included")
    func stopWhileAsking() async throws {
        let server = try SilentServer()
        let agent = try box.start("run", settings: ["GITHUB_REPO_URL": server.url])
        try await until("git asks") { box.survivors().contains { Processes.commandLine($0).contains("ls-remote") } }
        try await agent.send(SIGTERM)
        let ended = try await agent.ended()
        #expect(ended.code == 0 && box.survivors().isEmpty, "\(ended)")
        withExtendedLifetime(server) {}
    }

    @Test("run-once that is stopped while the remote does not answer ends with 0 and makes no deployment")
    func stopOnceWhileAsking() async throws {
        let server = try SilentServer()
        let agent = try box.start("run-once", "--json", settings: ["GITHUB_REPO_URL": server.url])
        try await until("git asks") { box.survivors().contains { Processes.commandLine($0).contains("ls-remote") } }
        try await agent.send(SIGTERM)
        let ended = try await agent.ended()
        #expect(ended.code == 0, "\(ended)")
        #expect(try await box.history().isEmpty)
        withExtendedLifetime(server) {}
    }

    // MARK: - What lives on

    @Test(
        "what a successful hook puts into the background lives on after run-once, also when it goes on printing",
        arguments: ["PRE", "POST"])
    func background(_ hook: String) async throws {
        let once = try await box.once([
            "\(hook)_DEPLOY_COMMAND":
                "( i=0; while :; do i=$((i+1)); echo tick $i; echo err $i >&2; echo $i > $OUT/ticks; sleep 0.02; done ) & echo $! > $OUT/pid; echo started"
        ])
        #expect(once.code == 0 && once.outcome == "deployed", "\(once)")
        let pid = try #require(Int32(box.lines("pid").first ?? ""))
        let before = Int(box.lines("ticks").first ?? "") ?? 0
        try await until("it goes on", details: { "alive: \(Processes.isAlive(pid))" }) {
            (Int(box.lines("ticks").first ?? "") ?? 0) > before + 20
        }
        #expect(Processes.isAlive(pid))
        #expect(once.runs.first?["output_tail"].string?.contains("started") == true)
        // The next deployment leaves it alone.
        try await box.commit(["app.txt": "2"])
        #expect(try await box.once(["PRE_DEPLOY_COMMAND": "true"]).outcome == "deployed")
        #expect(Processes.isAlive(pid))
    }

    @Test("a later deployment's timeout leaves an earlier one's background process alone", arguments: ["", "env -i"])
    func timeoutSparesEarlierBackground(_ prefix: String) async throws {
        let agent = try box.start(
            "run",
            settings: [
                "PRE_DEPLOY_COMMAND": "grep -q v1 app.txt || sleep 1000", "PRE_DEPLOY_TIMEOUT": "1",
                "POST_DEPLOY_COMMAND":
                    "\(prefix) setsid sleep 1000.1 </dev/null >/dev/null 2>&1 & echo $! > $OUT/daemon",
            ])
        try await until("the first commit is deployed") {
            try await box.history().first?["status"].string == "succeeded"
        }
        let daemon = try #require(Int32(box.lines("daemon").first ?? ""))
        try await box.commit(["app.txt": "2\n"])
        try await until("the second one has failed", details: { agent.errors }) {
            try await box.history().first?["status"].string == "failed"
        }
        #expect(Processes.isAlive(daemon))
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(Processes.isAlive(daemon), "it was ended with the agent")
        kill(daemon, SIGKILL)
    }

    @Test("a background process that prints without pause does not keep the agent")
    func noisyBackground() async throws {
        let once = try await box.once(["POST_DEPLOY_COMMAND": "yes & echo $! > $OUT/pid; exit 0"])
        #expect(once.code == 0 && (once.runs.first?["duration_ms"].int ?? 99_999) < 20_000, "\(once.json)")
        let pid = try #require(Int32(box.lines("pid").first ?? ""))
        #expect(Processes.isAlive(pid))
        kill(pid, SIGKILL)
    }
}

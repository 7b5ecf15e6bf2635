import Foundation
import Testing

/// `agent exec` at a terminal: a pty, with a real shell's job control around it.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct TerminalTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// Types at a pty in which a command runs, each text when a file has appeared.
    private func type(_ keys: [(after: String, text: String)], in command: [String]) async throws -> Ended {
        let script = """
            import os, pty, sys, time
            out, keys, command = sys.argv[1], eval(sys.argv[2]), sys.argv[3:]
            pid, terminal = pty.fork()
            if pid == 0:
                os.execvp(command[0], command)
            def wait(name):
                for _ in range(6000):
                    if os.path.exists(out + "/" + name): return
                    time.sleep(0.01)
                sys.exit("never came: " + name)
            import threading
            def drain():
                try:
                    while os.read(terminal, 4096): pass
                except OSError: pass
            threading.Thread(target=drain, daemon=True).start()
            for name, text in keys:
                wait(name)
                os.write(terminal, text.encode())
            _, status = os.waitpid(pid, 0)
            sys.exit(os.waitstatus_to_exitcode(status) % 256)
            """
        let typed = "[" + keys.map { "('\($0.after)','\($0.text)')" }.joined(separator: ",") + "]"
        return try await box.start(program: ["python3", "-c", script, box.out, typed] + command).ended()
    }

    @Test("the app has the foreground: it reads the terminal, and Ctrl-C reaches it alone")
    func foreground() async throws {
        let app =
            "trap 'touch $OUT/interrupted; exit 5' INT; touch $OUT/app; read line; echo \"$line\" > $OUT/line; "
            + "touch $OUT/read; while :; do sleep 0.05; done"
        let ended = try await type(
            [("app", "hello\\n"), ("read", "\\x03")], in: [agentBinary, "exec", "--", "sh", "-c", app])
        #expect(box.lines("line") == ["hello"])
        #expect(ended.code == 5 && box.has("interrupted"), "\(ended)")
    }

    @Test(
        "Ctrl-Z before the app stops the agent, and fg continues it; what writes to the terminal meanwhile is not stopped"
    )
    func suspendBeforeTheApp() async throws {
        let settings = "PRE_DEPLOY_COMMAND='touch $OUT/pre; \(Hooks.await_("back"))'"
        try box.write(
            "set -m\nstty tostop\n\(settings) '\(agentBinary)' exec -- sh -c 'touch $OUT/app; exit 6'\n"
                + "echo $? > $OUT/stopped; jobs > $OUT/jobs; touch $OUT/back; fg %1 >/dev/null; exit $?\n",
            to: box.root + "/session.sh")
        let ended = try await type([("pre", "\\x1a")], in: ["bash", box.root + "/session.sh"])
        #expect(box.lines("stopped") == ["148"] && (box.lines("jobs").first ?? "").contains("Stopped"), "\(ended)")
        #expect(ended.code == 6 && box.has("app"), "\(ended)")
    }

    @Test("Ctrl-Z stops app and agent, so that the shell has its terminal back; fg continues both")
    func suspend() async throws {
        // By bash: a shell that starts its programs by vfork(2), as dash does, does not stop while Ctrl-Z has stopped the child
        // that it waits for, by itself at a terminal as little as under the agent.
        let app = "trap 'exit 6' USR1; touch $OUT/app; while :; do sleep 0.05; test -e $OUT/back && exit 6; done"
        try box.write(
            "set -m\n'\(agentBinary)' exec -- bash -c '\(app.replacingOccurrences(of: "'", with: "'\\''"))'\n"
                + "echo $? > $OUT/stopped; jobs > $OUT/jobs; (sleep 0.2; touch $OUT/back) & fg %1 >/dev/null; exit $?\n",
            to: box.root + "/session.sh")
        let ended = try await type([("app", "\\x1a")], in: ["bash", box.root + "/session.sh"])
        #expect(box.lines("stopped") == ["148"] && (box.lines("jobs").first ?? "").contains("Stopped"), "\(ended)")
        #expect(ended.code == 6, "\(ended)")
    }
}

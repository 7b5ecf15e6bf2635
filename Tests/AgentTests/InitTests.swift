import Foundation
import Glibc
import Testing

private let namespacesAreAllowed = system("unshare --pid --fork --mount-proc true 2>/dev/null") == 0

/// `agent exec` as PID 1 of a PID namespace, as in a container. Where namespaces are not allowed these are skipped.
@Suite(
    .timeLimit(.minutes(2)), .fewAtOnce,
    .enabled(if: namespacesAreAllowed, "this machine does not let us make PID namespaces"))
struct InitTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func container(_ settings: [String: String] = [:], _ app: String) throws -> Program {
        try box.start(
            program: [
                "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", agentBinary, "exec", "--", "sh", "-c",
                app,
            ], settings)
    }

    /// The namespace's PID 1 as this machine sees it: the child of `unshare`.
    private func initProcess(_ program: Program) async throws -> Int32 {
        let unshare = try await program.started()
        return try #require(Processes.all().first { $0.parent == unshare }?.pid)
    }

    @Test("the app's exit code is the container's", arguments: [("exit 7", 7), ("kill -9 $$", 137), ("no-such", 127)])
    func exitCode(app: String, code: Int) async throws {
        let ended = try await container([:], app).ended()
        #expect(ended.code == code, "\(ended)")
    }

    @Test("every orphan is reaped, whoever adopted it")
    func orphans() async throws {
        let program = try container(
            ["POST_DEPLOY_COMMAND": "(sleep 0.1 &) ; (setsid sh -c '(sleep 0.1 &)' &); touch $OUT/posted"],
            // The last one's parent is gone before it ends; ten of each.
            "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &) ; (setsid sleep 0.1 &) ; done; "
                + Hooks.await_("posted")
                + "for i in $(seq 500); do ps -eo stat=,comm= > $OUT/ps; grep -qE '^Z|sleep' $OUT/ps || break; sleep 0.02; done"
        )
        #expect(try await program.ended().code == 0)
        let processes = box.lines("ps")
        #expect(!processes.isEmpty && !processes.contains { $0.hasPrefix("Z") }, "\(processes)")
        #expect(!processes.contains { $0.contains("sleep") }, "\(processes)")
    }

    @Test("SIGTERM to PID 1 reaches the app, what is left when it has ended gets SIGTERM, grace, SIGKILL")
    func stop() async throws {
        let program = try container(
            // Long enough for two shells to be given their turn on a machine under load.
            ["AGENT_STOP_GRACE": "4s"],
            "trap 'exit 12' TERM; "
                + "setsid sh -c 'trap \"touch $OUT/heard; exit\" TERM; touch $OUT/polite; while :; do sleep 0.05; done' & "
                + "setsid env -i sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & "
                + Hooks.await_("polite") + "touch $OUT/app; while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        kill(try await initProcess(program), SIGTERM)
        let ended = try await program.ended()
        #expect(ended.code == 12 && box.has("heard"), "\(ended)")
    }

    @Test("a second SIGTERM gets through, and the app that ignores the first is killed")
    func second() async throws {
        let program = try container(
            ["AGENT_STOP_GRACE": "1h"], "trap 'touch $OUT/term' TERM; touch $OUT/app; while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        let first = try await initProcess(program)
        kill(first, SIGTERM)
        try await until("the app has had its signal") { box.has("term") }
        kill(first, SIGTERM)
        #expect(try await program.ended().code == 137)
    }

    @Test("other signals reach the app through PID 1", arguments: [SIGHUP, SIGINT, SIGUSR1, SIGWINCH])
    func forwards(signal: Int32) async throws {
        let program = try container(
            [:], "trap 'exit 33' HUP INT USR1 WINCH; touch $OUT/app; while :; do sleep 0.05; done")
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        kill(try await initProcess(program), signal)
        #expect(try await program.ended().code == 33)
    }

    @Test("every signal that can be caught reaches the app through PID 1, and SIGTERM after it")
    func forwardsAll() async throws {
        let program = try box.start(
            program: [
                "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", agentBinary, "exec", "--", "python3",
                "-c", ExecTests.listener, box.out,
            ])
        try await until("the app runs", details: { program.errors }) { box.lines("heard") == ["up"] }
        let first = try await initProcess(program)
        for number in ExecTests.passedOn {
            kill(first, number)
            try await until("the app has heard \(number)", details: { program.errors }) {
                box.lines("heard").last == "\(number)"
            }
        }
        kill(first, SIGTERM)
        #expect(try await program.ended().code == 7)
        #expect(box.lines("heard") == ["up"] + ExecTests.passedOn.map(String.init) + ["15"])
    }

    @Test("a stop signal that an image names ends run as PID 1 in order", arguments: [SIGQUIT, SIGUSR1, SIGWINCH, 37])
    func sidecar(signal: Int32) async throws {
        let program = try box.start(
            program: ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", agentBinary, "run"],
            ["PRE_DEPLOY_COMMAND": "trap 'touch $OUT/heard; exit 1' TERM; touch $OUT/pre; while :; do sleep 0.05; done"]
        )
        try await until("PRE_DEPLOY runs", details: { program.errors }) { box.has("pre") }
        kill(try await initProcess(program), signal)
        let ended = try await program.ended()
        #expect(ended.code == 0 && box.has("heard"), "\(ended)")
        #expect(try await box.history().map { $0["status"].string } == ["interrupted"])
    }

    @Test("a parent that ignores and blocks every signal keeps PID 1 neither from reaping nor from ending")
    func deafParent() async throws {
        let program = try box.start(
            program: [
                "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "python3", "-c", EndingTests.deaf,
                agentBinary, "exec", "--", "sh", "-c",
                "trap 'exit 33' USR1; touch $OUT/app; while :; do sleep 0.05; done",
            ])
        try await until("the app runs", details: { program.errors }) { box.has("app") }
        kill(try await initProcess(program), SIGUSR1)
        #expect(try await program.ended().code == 33)
    }
}

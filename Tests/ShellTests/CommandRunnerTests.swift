import Foundation
import TestSupport
import Testing

@testable import Shell

/// Ways in which a process escapes a plain `kill` of its parent. `$MK` marks it.
private let escapes = [
    ("ignores SIGTERM", "trap '' TERM; touch up; while :; do sleep 1; done"),
    ("grandchild", "(trap '' TERM; sleep 1000 & touch up; wait) & wait"),
    ("new session", "setsid sh -c 'trap \"\" TERM; touch up; exec sleep 1000' & sleep 1000"),
    ("double fork", "(setsid sh -c 'sleep 1000 & touch up' &) ; sleep 1000"),
    ("bare environment", "env -i MK=$MK PATH=$PATH setsid sh -c 'touch up; exec sleep 1000' & sleep 1000"),
    ("another marker", "(DEPLOY_RUN_UUID=x setsid sh -c 'touch up; exec sleep 1000' &); sleep 1000"),
    ("stopped", "setsid sh -c 'touch up; kill -STOP $$; sleep 1000' & sleep 1000"),
]

/// One after the other: a command that is ended claims orphans without a marker, and those of another test are such.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct CommandRunnerTests {
    let folder: TemporaryFolder
    let text = uniqueText()

    init() throws {
        folder = try TemporaryFolder()
    }

    private func command(
        _ script: String, timeout: Duration = .seconds(30), killGrace: Duration = .milliseconds(300),
        environment: [[UInt8]] = []
    ) -> Command {
        Command(
            executable: "/bin/sh", arguments: ["-c", script], folder: folder.path,
            environment: [Array("PATH=/usr/bin:/bin".utf8), Array("MK=\(text)".utf8)] + environment,
            marker: uniqueText(), timeout: timeout, killGrace: killGrace)
    }

    private func run(_ command: Command, stop: StopSignal? = nil) async throws -> (verdict: Verdict, output: String) {
        let output = CollectedOutput(limit: 1 << 20)
        let verdict = try await runCommand(command, output: output, stop: stop)
        return (verdict, output.text)
    }

    @Test(
        "an exit code and a signal are told apart",
        arguments: [
            ("exit 0", Verdict.Termination.exited(0)), ("exit 7", .exited(7)), ("kill -9 $$", .signaled(9)),
            ("exit 143", .exited(143)),
        ])
    func termination(script: String, expected: Verdict.Termination) async throws {
        let verdict = try await run(command(script)).verdict
        #expect(verdict.termination == expected && verdict.cause == .ended && verdict.survivors.isEmpty)
    }

    @Test("standard output and error come in the order in which they were written")
    func order() async throws {
        let output = try await run(command("for i in 1 2 3; do echo out$i; echo err$i >&2; done")).output
        #expect(output == "out1\nerr1\nout2\nerr2\nout3\nerr3\n")
    }

    @Test("the environment arrives byte for byte, without entries that no program could set")
    func environment() async throws {
        let odd: [UInt8] = Array("ODD=".utf8) + [0xFF, 0xFE, 10, 0x20]
        let result = try await run(
            command(
                "env -0 | od -An -c | tr -d ' \\n'", environment: [odd, Array("0BAD=x".utf8), Array("NOEQUALS".utf8)]))
        #expect(result.output.contains("ODD=377376\\n\\0") && !result.output.contains("0BAD"))
        #expect(result.output.contains("MK=\(text)\\0"))
    }

    @Test("standard input is empty, the session is its own, no other descriptor is inherited")
    func surroundings() async throws {
        let result = try await run(
            command(
                "wc -c; readlink /proc/self/fd/0; [ $(ps -o sid= -p $$) -eq $$ ] && echo leader; ls /proc/$$/fd > fds; wc -l < fds"
            ))
        let lines = result.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(lines[0] == "0" && lines[1] == "/dev/null" && lines[2] == "leader" && (Int(lines[3]) ?? 9) <= 4)
    }

    @Test("at the deadline everything that the run started is ended", arguments: escapes)
    func timeout(name: String, script: String) async throws {
        let started = folder.path + "/up"
        let stop = StopSignal()
        let command = command(script)
        // Stopped instead of timed out, so that the test waits for readiness and not for a clock.
        async let result = run(command, stop: stop)
        #expect(await eventually { FileManager.default.fileExists(atPath: started) })
        stop.request()
        let verdict = try await result.verdict
        #expect(verdict.cause == .stopped && verdict.survivors.isEmpty)
        #expect(processes(holding: text).isEmpty)
    }

    @Test("the deadline ends a command that would go on, and its last words are kept")
    func deadline() async throws {
        let result = try await run(
            command(
                "trap 'echo last words; exit 3' TERM; echo first; while :; do sleep 0.05; done",
                timeout: .seconds(2), killGrace: .seconds(20)))
        #expect(result.verdict.cause == .timedOut && result.verdict.termination == .exited(3))
        #expect(result.output.hasPrefix("first\n") && result.output.hasSuffix("last words\n"))
    }

    @Test("what a failed command leaves behind is ended")
    func failedLeftovers() async throws {
        let verdict = try await run(command("setsid sleep 1000 & exit 4")).verdict
        #expect(verdict.termination == .exited(4) && processes(holding: text).isEmpty)
    }

    @Test(
        "what a command's own filter prints after its end is kept, whatever became of the command", arguments: [0, 3])
    func filter(code: Int) async throws {
        var command = command(
            "bash -c 'exec > >(: > up; sleep 0.1; cat; echo end); until [ -e up ]; do :; done; echo late; exit \(code)'"
        )
        command.outputGrace = .seconds(20)
        let result = try await run(command)
        #expect(result.verdict.termination == .exited(code) && result.output == "late\nend\n")
        #expect(!result.verdict.leftBackground && result.verdict.duration < .seconds(15))
    }

    @Test(
        "what is no filter, or takes longer, is not waited for",
        arguments: ["sleep 1000 &", "sleep 1000 | sleep 1000 &"], [0, 3])
    func noFilter(script: String, code: Int) async throws {
        var command = command("\(script) echo up; exit \(code)")
        command.outputGrace = script.contains("|") ? .milliseconds(20) : .seconds(20)
        let result = try await run(command)
        #expect(result.verdict.termination == .exited(code) && result.output == "up\n")
        #expect(result.verdict.duration < .seconds(15))
        #expect(result.verdict.leftBackground == (code == 0) && processes(holding: text).isEmpty == (code != 0))
        for pid in processes(holding: text) { kill(pid, SIGKILL) }
    }

    @Test("what a successful command leaves in the background lives on, also when it keeps writing to its output")
    func background() async throws {
        let result = try await run(
            command("(i=0; while :; do i=$((i+1)); echo $i; echo $i > count; done) & echo started"))
        #expect(result.verdict.isSuccess && result.verdict.leftBackground && result.output.contains("started"))
        func count() -> Int { folder.read("count").flatMap { Int($0.split(separator: "\n").first ?? "") } ?? 0 }
        let before = count()
        #expect(await eventually { count() > before + 5000 }, "it goes on past a full pipe")
        for pid in processes(holding: text) { kill(pid, SIGKILL) }
    }

    @Test(
        "a command that fails to start says why",
        arguments: [
            ("/nonexistent/program", "/", ShellError.Code.notFound), ("/bin/sh", "/nonexistent", .folder),
        ])
    func notStarted(executable: String, folder: String, code: ShellError.Code) async {
        let command = Command(
            executable: executable, arguments: [], folder: folder, environment: [], marker: text, timeout: .seconds(9),
            killGrace: .seconds(1))
        let error = await #expect(throws: ShellError.self) { try await run(command) }
        #expect(error?.code == code)
    }

    @Test("a cancelled caller does not end the run")
    func cancellation() async throws {
        let command = command("touch up; while [ ! -e go ]; do sleep 0.01; done; echo done")
        let task = Task { try await run(command) }
        #expect(await eventually { folder.exists("up") })
        task.cancel()
        try folder.write("go", "")
        let result = try await task.value
        #expect(result.verdict.isSuccess && result.output == "done\n")
    }

    @Test("survivors of a killed agent are found by their marker and their session")
    func survivors() async throws {
        let output = CollectedOutput(limit: 100)
        let mark = Cell<ProcessMark?>(nil)
        let command = command("env -i MK=$MK sleep 1000 & (setsid sleep 1000 &) ; touch up; sleep 1000")
        let task = Task { try await runCommand(command, output: output) { mark.set($0) } }
        #expect(await eventually { folder.exists("up") && mark.get() != nil })
        let started = try #require(mark.get())
        let found = try #require(ProcessMark(text: started.text))
        let ended = await endSurvivors(of: found, grace: .milliseconds(200))
        #expect(ended.found >= 3 && ended.survivors.isEmpty && processes(holding: text).isEmpty)
        _ = try await task.value
        let byMarker = await endSurvivors(of: ProcessMark(marker: "no such marker"), grace: .seconds(1))
        #expect(byMarker.found == 0)
    }

    @Test("a session id that has a new owner is nobody's")
    func reusedSession() async throws {
        var mark = ProcessMark(marker: "none", pid: getpid())
        mark.startTime += 1
        #expect(ProcessTree(mark: mark, includesAdopted: false).members().isEmpty)
    }

    @Test("a line of 100 MB passes in bounded memory")
    func hugeLine() async throws {
        final class Counter: OutputSink {
            let count = Cell(0)
            func receive(_ bytes: UnsafeRawBufferPointer) { count.set(count.get() + bytes.count) }
            func finish() {}
        }
        let counter = Counter()
        let verdict = try await runCommand(command("head -c 100000000 /dev/zero"), output: counter)
        #expect(verdict.isSuccess && counter.count.get() == 100_000_000)
    }
}

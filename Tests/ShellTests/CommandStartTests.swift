import Foundation
import TestSupport
import Testing

@testable import Shell

extension CommandRunnerTests {
    @Suite(.timeLimit(.minutes(1)))
    struct CommandStartTests {
        @Test("a command runs in its folder, whatever the folder is called")
        func oddFolder() async throws {
            var script = try Script("pwd -P")
            let path = script.folder.path + "/a folder's \"näme\" $HOME"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            script.command.folder = path
            #expect(try await script.run().output == path + "\n")
            script.cleanUp()
        }

        @Test("a large environment arrives whole, names that no shell could write included")
        func largeEnvironment() async throws {
            let texts =
                ["EMPTY=", "TWO=a=b", "LINES=a\nb\n", "with.dot-and-minus=x"] + (0..<3000).map { "MANY_\($0)=\($0)" }
            let entries =
                texts.map { Array($0.utf8) } + [
                    [0xC3, 0x28] + Array("=raw name".utf8),
                    Array("BIG=".utf8) + [UInt8](repeating: 0x7E, count: 100_000),
                ]
            var script = try Script("")
            script.command.executable = "/usr/bin/env"
            script.command.arguments = ["-0"]
            script.command.environment = entries
            let output = CollectedOutput(limit: 1 << 24)
            #expect(try await runCommand(script.command, output: output).isSuccess)
            let marker = Array("\(Command.markerVariable)=\(script.command.marker)".utf8)
            let isWhole = Set(output.bytes.split(separator: 0).map(Array.init)) == Set(entries + [marker])
            #expect(isWhole)
        }

        @Test(
            "of commands started at the same time each has its own mark among its limits, and the tests themselves none"
        )
        func limitMarks() async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<30 {
                    group.addTask {
                        let script = try Script("exec grep 'file locks' /proc/self/limits")
                        let mark = LimitMark(marker: script.command.marker)
                        #expect(try await script.run().output.contains(" \(mark.value) "))
                    }
                }
                try await group.waitForAll()
            }
            // Other suites start commands too, and this process has their marks for as long as a spawn takes.
            #expect(await eventually { LimitMark(of: getpid()) == nil })
        }

        @Test("a command started from within a run is found by its own marker, not by the outer run's")
        func nestedMarker() async throws {
            let script = try Script(
                "setsid sh -c '\(Script.waiting)' >/dev/null 2>&1 & exit 0",
                environment: [Array("\(Command.markerVariable)=of-an-outer-run".utf8)])
            defer { script.cleanUp() }
            #expect(try await script.run().verdict.isSuccess)
            try await script.waitUntilUp()
            let ended = await endSurvivors(of: ProcessMark(marker: script.command.marker), grace: .seconds(1))
            #expect(ended.found == 1 && script.living.isEmpty)
        }

        @Test("standard error can be taken apart from standard output")
        func separateErrors() async throws {
            let script = try Script("i=0; while [ $i -lt 5000 ]; do echo output; echo error >&2; i=$((i+1)); done")
            let (output, errors) = (CollectedOutput(limit: 1 << 20), CollectedOutput(limit: 1 << 20))
            #expect(try await runCommand(script.command, output: output, errors: errors).isSuccess)
            let isApart =
                output.text == String(repeating: "output\n", count: 5000)
                && errors.text == String(repeating: "error\n", count: 5000)
            #expect(isApart)
        }

        @Test("everything that was printed right before the end is there", arguments: [0, 3])
        func lastOutput(code: Int) async throws {
            let script = try Script("head -c 900000 /dev/zero; printf end; exit \(code)")
            let output = try await script.run().output
            #expect(output.utf8.count == 900_003 && output.hasSuffix("end"))
        }

        @Test(
            "what is no program, or may not be executed, is a command that cannot be found",
            arguments: ["/etc/passwd", "/etc"])
        func noProgram(executable: String) async throws {
            var script = try Script("")
            script.command.executable = executable
            let command = script.command
            let error = await #expect(throws: ShellError.self) {
                try await runCommand(command, output: CollectedOutput(limit: 10))
            }
            #expect(error?.code == .notFound && error?.description.contains(executable) == true)
        }

        @Test("a folder that is a file cannot be run in, and is named")
        func fileAsFolder() async throws {
            var script = try Script("true")
            script.command.folder = "/etc/passwd"
            let command = script.command
            let error = await #expect(throws: ShellError.self) {
                try await runCommand(command, output: CollectedOutput(limit: 10))
            }
            #expect(error?.code == .folder && error?.description.contains("/etc/passwd") == true)
        }

        @Test(
            "of an environment that is too large the error names the largest variables with their sizes, and no value")
        func tooLargeEnvironment() async throws {
            func entry(_ name: String, _ count: Int) -> [UInt8] {
                Array("\(name)=".utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: count)
            }
            let limit = 32 * Int(getpagesize())
            var script = try Script("true", environment: [entry("FEW", 20_000), entry("MANY", limit), entry("A", 1)])
            let command = script.command
            let error = await #expect(throws: ShellError.self) {
                try await runCommand(command, output: CollectedOutput(limit: 10))
            }
            let text = try #require(error?.description)
            #expect(error?.code == .failed && text.contains("(MANY has \(limit + 6) bytes, FEW has 20005 bytes, "))
            #expect(
                !text.contains("xxx") && text.contains("each variable and argument \(limit)"), "\(text.prefix(999))")
            script.command.environment.removeAll { $0.count > 100_000 }
            #expect(try await script.run().verdict.isSuccess)
        }

        @Test("a program starts with every signal at its default and none blocked, whatever this process has")
        func signals() async throws {
            // The test's own thread blocks some, and ignores SIGPIPE as every thread of it does.
            var set = sigset_t()
            sigemptyset(&set)
            sigaddset(&set, SIGTERM)
            sigaddset(&set, SIGUSR1)
            pthread_sigmask(SIG_BLOCK, &set, nil)
            defer { pthread_sigmask(SIG_UNBLOCK, &set, nil) }
            let before = signal(SIGUSR2, SIG_IGN)
            defer { signal(SIGUSR2, before) }
            let output = try await Script("exec grep -E 'Sig(Blk|Ign)' /proc/self/status").run().output
            #expect(
                output.split(separator: "\n").map { $0.hasSuffix("\t0000000000000000") } == [true, true], "\(output)")
        }

        @Test("commands that fail leave those that run beside them alone")
        func sideBySide() async throws {
            let broken = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        for _ in 0..<20 { _ = try await Script("exit 1").run() }
                        return []
                    }
                    group.addTask {
                        var broken: [String] = []
                        for _ in 0..<20 {
                            let result = try await Script("echo fine").run()
                            if !result.verdict.isSuccess || result.output != "fine\n" { broken.append("\(result)") }
                        }
                        return broken
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(broken.isEmpty)
        }
    }
}

@Suite struct FindProgramTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("first/tool/file", "")
        try folder.write("second/tool", "not executable")
        let path = try folder.write("third/tool", "#!/bin/sh\n")
        try #require(chmod(path, 0o755) == 0)
    }

    @Test("a name leads to the first program of the search path, not to a folder or a plain file of that name")
    func searched() {
        let folders = ["none", "first", "second", "third"].map { "\(folder.path)/\($0)" }
        #expect(findProgram("tool", searchPath: folders.joined(separator: ":")) == folder.path + "/third/tool")
        #expect(findProgram("tool", searchPath: folders.dropLast().joined(separator: ":")) == nil)
    }

    @Test("a path is taken as it is, when it leads to a program")
    func path() {
        #expect(findProgram("/bin/sh", searchPath: "/none") == "/bin/sh")
        #expect(findProgram(folder.path + "/first/tool", searchPath: nil) == nil)
        #expect(findProgram(folder.path + "/second/tool", searchPath: nil) == nil)
    }

    @Test("without a search path the system's usual folders are searched", arguments: [nil, ""])
    func usual(searchPath: String?) {
        #expect(findProgram("sh", searchPath: searchPath)?.hasSuffix("/bin/sh") == true)
    }
}

import Foundation
import Log
import Logging
import Shell
import Synchronization
import TestSupport
import Testing

@testable import DeployAgent

@Suite struct LogTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// What a log that writes to a file holds in the end.
    private func log(
        _ format: LogFormat, level: LogLevel = .info, secrets: [String] = [], _ body: (LogOutput) -> Void
    ) throws -> String {
        let path = try folder.write("log", "")
        let descriptor = open(path, O_WRONLY | O_APPEND)
        defer { close(descriptor) }
        body(
            LogOutput(
                format: format, level: level, secrets: Secrets(secrets), environment: ProcessEnvironment([:]),
                descriptor: descriptor))
        return folder.read("log") ?? ""
    }

    private func lines(_ format: LogFormat, _ pieces: [[UInt8]]) throws -> [String] {
        try log(format) { output in
            let lines = RunLines(
                output: output, name: "PRE_DEPLOY", context: [("hook", "PRE_DEPLOY"), ("stream", "output")])
            for piece in pieces { piece.withUnsafeBytes { lines.receive($0) } }
            lines.finish()
        }.split(separator: "\n").map(String.init)
    }

    @Test(
        "each line of a hook is a line of the log, whatever the pieces",
        arguments: [
            (["a\nb\n"], ["a", "b"]), (["a", "b\nc"], ["ab", "c"]), (["\n"], [""]), (["a\r\nb\r\n"], ["a", "b"]),
            (["x\u{1B}[31m\ty\u{7}"], ["x\\x1b[31m\ty\\x07"]), (["ä"], ["ä"]),
            (["\u{9B}31m"], ["\\x9b31m"]), (["a\u{0}b\u{7F}"], ["a\\x00b\\x7f"]),
            (["\n\na\n\n"], ["", "", "a", ""]), (["a\r", "\nb"], ["a", "b"]),
            (["\"quoted\" \\ ~"], ["\"quoted\" \\ ~"]),
        ])
    func hookLines(pieces: [String], expected: [String]) throws {
        let found = try lines(.text, pieces.map { Array($0.utf8) })
        #expect(found.map { $0.components(separatedBy: "INFO  ").last } == expected.map { "[PRE_DEPLOY] \($0)" })
    }

    @Test(
        "of what a carriage return lets be written over the last state is a line of the log, whatever the pieces",
        arguments: [
            (["50%\r100%"], ["100%"]), (["50%\r100%\n"], ["100%"]), (["\r50%\r100%\nnext\n"], ["100%", "next"]),
            (["50%\r100%\r\nnext\n"], ["100%", "next"]), (["a\r\r\n"], ["a"]), (["\r\n\r\n"], ["", ""]),
            // The first state is shown as it comes, and none twice.
            (["50%\r", "100%\r", "\n", "next"], ["50%", "100%", "next"]), (["50%", "\r100%\n"], ["100%"]),
            (["100%\r", "\n"], ["100%"]), (["100%\r"], ["100%"]), (["\r100%", "\r"], ["100%"]),
            (["50%\r", "    \r", "done\n"], ["50%", "done"]), (["a\rb\rc\n", "d\n"], ["c", "d"]),
        ])
    func states(pieces: [String], expected: [String]) throws {
        let found = try lines(.text, pieces.map { Array($0.utf8) })
        #expect(found.map { $0.components(separatedBy: "INFO  ").last } == expected.map { "[PRE_DEPLOY] \($0)" })
    }

    @Test("a progress bar is in the log while it runs, at most once a second, and nothing is shown twice")
    func progress() throws {
        let passed = Mutex(Duration.zero)
        let begin = ContinuousClock.now
        let text = try log(.text) { output in
            let lines = RunLines(output: output, name: "PRE_DEPLOY") { begin + passed.withLock { $0 } }
            for percent in 0..<100 {
                Array("\r\(percent)%".utf8).withUnsafeBytes { lines.receive($0) }
                passed.withLock { $0 += .milliseconds(100) }
            }
            #expect(folder.read("log")?.contains("] 90%\n") == true)
            Array("\r100%\nend\n".utf8).withUnsafeBytes { lines.receive($0) }
            lines.finish()
        }
        let shown = text.split(separator: "\n").map { $0.components(separatedBy: "] ")[1] }
        #expect(shown == stride(from: 0, to: 100, by: 10).map { "\($0)%" } + ["100%", "end"])
    }

    @Test("a bar that is printed without end costs no memory, and a line of it that is too long is split")
    func longBar() throws {
        let begin = ContinuousClock.now
        let text = try log(.text) { output in
            let lines = RunLines(output: output, name: "PRE_DEPLOY") { begin }
            let state = Array((String(repeating: "x", count: 99) + "\r").utf8)
            for _ in 0..<1000 { state.withUnsafeBytes { lines.receive($0) } }
            Array(String(repeating: "y", count: 10_000).utf8).withUnsafeBytes { lines.receive($0) }
            lines.finish()
        }
        let shown = text.split(separator: "\n").map { $0.components(separatedBy: "] ")[1] }
        #expect(shown.map(\.count) == [99, 8192, 1808] && shown.dropFirst().joined().allSatisfy { $0 == "y" })
    }

    @Test("long lines are split at whole characters, bytes that are no text are repaired")
    func longLines() throws {
        // Pieces of every length, so that each place of a character comes to lie on each place of the cut.
        for (character, size) in [("ä", 8191), ("€", 8190), ("🚀", 1), ("🚀", 8189), ("🚀", 4096), ("🚀", 100_000)] {
            let text = Array(("x" + String(repeating: character, count: 5000)).utf8)
            let pieces = stride(from: 0, to: text.count, by: size).map { Array(text[$0..<min($0 + size, text.count)]) }
            let long = try lines(.text, pieces).map { $0.components(separatedBy: "] ")[1] }
            #expect(long.joined() == "x" + String(repeating: character, count: 5000), "\(character) by \(size)")
            #expect(long.allSatisfy { $0.utf8.count <= 8192 } && long.count == (text.count + 8191) / 8192)
        }
        #expect(try lines(.text, [[0x41, 0xFF, 0x42]])[0].hasSuffix("[PRE_DEPLOY] A\u{FFFD}B"))
    }

    @Test("every line of a JSON log is one JSON object", arguments: ["plain", "quote\" back\\ tab\t ctrl\u{1} ä"])
    func json(text: String) throws {
        let hook = try lines(.json, [Array((text + "\n").utf8)])
        let own = try log(.json) { $0.write(.warning, text, [("k", text)]) }
        for (line, key) in [(hook[0], "hook"), (own, "k")] {
            let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
            #expect(object["message"] == text && object["level"] != nil && object["time"]?.hasSuffix("Z") == true)
            #expect(object[key] != nil)
        }
    }

    @Test("secrets are replaced before anything is escaped", arguments: [LogFormat.text, .json])
    func masking(format: LogFormat) throws {
        let text = try log(format, secrets: ["pa\"ss\\word"]) {
            $0.write(.info, "it is pa\"ss\\word", [("k", "pa\"ss\\word")])
        }
        #expect(!text.contains("word") && text.contains("***"))
    }

    @Test("numbers and ids that the agent writes stay what they are, whatever is secret; texts are masked")
    func ids() throws {
        let text = try log(.json, secrets: ["1"]) { output in
            var logger = output.logger()
            logger[metadataKey: "deployment_id"] = "1"
            logger[metadataKey: "commit"] = "1a1"
            logger.info("1 done", metadata: ["k": "a1"])
            let lines = RunLines(output: output, name: "PRE_DEPLOY", context: [("run_id", "1"), ("commit", "1a1")])
            Array("***\n".utf8).withUnsafeBytes { lines.receive($0) }
        }
        let objects = try text.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(objects.map { $0["commit"] as? String } == ["1a1", "1a1"])
        #expect(objects[0]["deployment_id"] as? Int == 1 && objects[1]["run_id"] as? Int == 1)
        #expect(objects[0]["message"] as? String == "*** done" && objects[0]["k"] as? String == "a***")
    }

    @Test("an event stays on one line and sends nothing to a terminal")
    func oneLine() throws {
        let text = try log(.text) { $0.write(.info, "one\ntwo\u{1B}]0;x\u{7}", []) }
        #expect(text.filter { $0 == "\n" }.count == 1 && !text.contains("\u{1B}") && text.contains("one; two"))
        #expect(try log(.json) { $0.write(.info, "\u{9B}31m", []) }.contains("\\u009b31m"))
    }

    @Test("an event is one line with its level and its fields in order")
    func fields() throws {
        let text = try log(.text) { $0.logger().warning("something", metadata: ["b": "2", "a": "1"]) }
        #expect(text.contains(/^\S+Z WARN  something a=1 b=2\n$/))
    }

    @Test("a hook's line has time, level and hook before it, and no secret of an event's URL stands in the log")
    func prefix() throws {
        let hook = try #require(try lines(.text, [Array("one\n".utf8)]).first)
        #expect(hook.contains(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO  \[PRE_DEPLOY\] one$/))
        #expect(try !log(.text) { $0.write(.info, "cannot reach https://me:hunter2@host/x", []) }.contains("hunter2"))
    }

    @Test("secrets that are learnt later are hidden from then on, those known before still")
    func learn() throws {
        let text = try log(.text, secrets: ["first-one"]) {
            $0.learn(Secrets(["second-one"]))
            $0.logger().info("first-one second-one")
        }
        #expect(text.hasSuffix("*** ***\n"))
    }

    @Test("a file is no terminal, so nothing is coloured", arguments: [LogFormat.text, .json])
    func colour(format: LogFormat) throws {
        #expect(try !log(format) { $0.logger().error("text") }.contains("\u{1B}"))
    }

    @Test(
        "below the level neither events nor a hook's lines are shown", arguments: [LogLevel.notice, .warning, .error])
    func level(_ level: LogLevel) throws {
        let text = try log(.text, level: level) { output in
            let lines = RunLines(
                output: output, name: "PRE_DEPLOY", context: [("hook", "PRE_DEPLOY"), ("stream", "output")])
            Array("text\n".utf8).withUnsafeBytes { lines.receive($0) }
            lines.finish()
            output.logger().info("no")
            output.logger().error("yes")
        }
        #expect(text.hasSuffix("ERROR yes\n") && text.filter { $0 == "\n" }.count == 1)
    }

    @Test("bytes that are no text come to an end too, however long the line", arguments: [UInt8(0x80), 0xFF, 0xE2])
    func longInvalidLine(byte: UInt8) throws {
        let piece = [UInt8](repeating: byte, count: 30_000)
        let found = try lines(.text, [piece, piece])
        #expect(found.count >= 7 && found.count < 20)
        #expect(found.allSatisfy { $0.unicodeScalars.last == "\u{FFFD}" })
    }

    @Test("lines of two hooks at once are never mixed")
    func sideBySide() async throws {
        let path = try folder.write("log", "")
        let descriptor = open(path, O_WRONLY | O_APPEND)
        defer { close(descriptor) }
        let output = LogOutput(
            format: .text, level: .info, secrets: Secrets(), environment: ProcessEnvironment([:]),
            descriptor: descriptor)
        await withTaskGroup(of: Void.self) { group in
            for hook in ["PRE_DEPLOY", "POST_DEPLOY"] {
                group.addTask {
                    let lines = RunLines(output: output, name: hook, context: [("hook", hook), ("stream", "output")])
                    for _ in 0..<100 { Array("of \(hook)\n".utf8).withUnsafeBytes { lines.receive($0) } }
                    lines.finish()
                }
            }
        }
        let all = (folder.read("log") ?? "").split(separator: "\n")
        #expect(all.count == 200)
        #expect(
            all.allSatisfy {
                $0.hasSuffix("[PRE_DEPLOY] of PRE_DEPLOY") || $0.hasSuffix("[POST_DEPLOY] of POST_DEPLOY")
            })
    }
}

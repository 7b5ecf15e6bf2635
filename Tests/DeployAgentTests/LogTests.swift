import Foundation
import Logging
import Shell
import TestSupport
import Testing

@testable import DeployAgent

@Suite struct LogTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// What a log that writes to a file holds in the end.
    private func log(_ format: LogFormat, secrets: [String] = [], _ body: (LogOutput) -> Void) throws -> String {
        let path = try folder.write("log", "")
        let descriptor = open(path, O_WRONLY | O_APPEND)
        defer { close(descriptor) }
        body(
            LogOutput(
                format: format, level: .info, secrets: Secrets(secrets), environment: ProcessEnvironment([:]),
                descriptor: descriptor))
        return folder.read("log") ?? ""
    }

    private func lines(_ format: LogFormat, _ pieces: [[UInt8]]) throws -> [String] {
        try log(format) { output in
            let lines = HookLines(output: output, name: "PRE_DEPLOY")
            for piece in pieces { piece.withUnsafeBytes { lines.receive($0) } }
            lines.finish()
        }.split(separator: "\n").map(String.init)
    }

    @Test(
        "each line of a hook is a line of the log, whatever the pieces",
        arguments: [
            (["a\nb\n"], ["a", "b"]), (["a", "b\nc"], ["ab", "c"]), (["\n"], [""]), (["a\r\nb\r\n"], ["a", "b"]),
            (["x\u{1B}[31m\ty\u{7}"], ["x\\x1b[31m\ty\\x07"]), (["ä"], ["ä"]),
            (["\u{9B}31m"], ["\\x9b31m"]),
        ])
    func hookLines(pieces: [String], expected: [String]) throws {
        let found = try lines(.text, pieces.map { Array($0.utf8) })
        #expect(found.map { $0.components(separatedBy: "INFO  ").last } == expected.map { "[PRE_DEPLOY] \($0)" })
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

    @Test("an event stays on one line and sends nothing to a terminal")
    func oneLine() throws {
        let text = try log(.text) { $0.write(.info, "one\ntwo\u{1B}]0;x\u{7}", []) }
        #expect(text.filter { $0 == "\n" }.count == 1 && !text.contains("\u{1B}") && text.contains("one; two"))
        #expect(try log(.json) { $0.write(.info, "\u{9B}31m", []) }.contains("\\u009b31m"))
    }
}

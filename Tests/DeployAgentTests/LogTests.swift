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
        ])
    func hookLines(pieces: [String], expected: [String]) throws {
        let found = try lines(.text, pieces.map { Array($0.utf8) })
        #expect(found.map { $0.components(separatedBy: "INFO  ").last } == expected.map { "[PRE_DEPLOY] \($0)" })
    }

    @Test("long lines are split at whole characters, bytes that are no text are repaired")
    func longLines() throws {
        let long = try lines(.text, [Array(String(repeating: "ä", count: 10_000).utf8)])
        #expect(long.count == 3 && !long.joined().contains("\u{FFFD}"))
        #expect(long.joined().filter { $0 == "ä" }.count == 10_000)
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
    }
}

import Foundation
import TestSupport
import Testing

@testable import Shell

/// Forgets what it receives.
private final class NoLines: OutputSink {
    func receive(_ bytes: UnsafeRawBufferPointer) {}
    func finish() {}
}

@Suite(.timeLimit(.minutes(1)))
struct OutputTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func log(_ total: Int, limit: Int, piece: Int) -> Data? {
        var log = RunLog(path: folder.path + "/log", limit: limit)
        var sent = 0
        while sent < total {
            let bytes = (sent..<min(total, sent + piece)).map { UInt8(truncatingIfNeeded: $0 % 251) }
            bytes.withUnsafeBytes { log.append($0) }
            sent += bytes.count
        }
        log.close()
        return FileManager.default.contents(atPath: folder.path + "/log")
    }

    @Test("a log up to its limit is kept whole", arguments: [0, 1, 500, 999, 1000])
    func whole(total: Int) throws {
        let data = try #require(log(total, limit: 1000, piece: 37))
        #expect(data.count == total && data.enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0 % 251) })
    }

    @Test(
        "a longer log keeps its first and last half and says how much is missing", arguments: [1001, 1500, 99_999],
        [7, 5000])
    func halves(total: Int, piece: Int) throws {
        let data = try #require(log(total, limit: 1000, piece: piece))
        #expect(data.count <= 1000)
        let marker = try #require(data.range(of: Data("\n… ".utf8)))
        #expect(marker.lowerBound == 500)
        #expect(data[..<500].enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0 % 251) })
        let end = try #require(data.range(of: Data(" bytes are missing here …\n".utf8)))
        let missing = try #require(Int(String(decoding: data[marker.upperBound..<end.lowerBound], as: UTF8.self)))
        let tail = data[end.upperBound...]
        #expect(missing + 500 + tail.count == total)
        #expect(tail.enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: (total - tail.count + $0) % 251) })
    }

    @Test("a log file is readable by its owner only, whatever the umask") func mode() throws {
        _ = log(1, limit: 10, piece: 1)
        let attributes = try FileManager.default.attributesOfItem(atPath: folder.path + "/log")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test("a log that cannot be written is reported, and the run goes on") func unwritable() {
        let output = RunOutput(path: folder.path + "/none/log", secrets: Secrets(), lines: NoLines())
        Array("text".utf8).withUnsafeBytes { output.receive($0) }
        output.finish()
        #expect(output.logFailure?.contains("/none/log") == true && output.tail == "text")
    }

    @Test(
        "the tail is the last 64 KiB, valid UTF-8 without NUL",
        arguments: [
            (Array("ä\u{0}b".utf8), "ä\u{FFFD}b"), ([0xFF, 0x41], "\u{FFFD}A"),
        ])
    func tailRepairs(bytes: [UInt8], expected: String) {
        let output = RunOutput(path: folder.path + "/log", secrets: Secrets(), lines: NoLines())
        bytes.withUnsafeBytes { output.receive($0) }
        output.finish()
        #expect(output.tail == expected)
    }

    @Test("the tail begins at a whole character and stays within its limit") func tailBoundary() {
        let output = RunOutput(path: folder.path + "/log", secrets: Secrets(), lines: NoLines())
        let bytes = Array(String(repeating: "ä", count: 40_000).utf8) + [0x21]
        bytes.withUnsafeBytes { output.receive($0) }
        output.finish()
        #expect(
            output.tail.utf8.count <= RunOutput.tailLimit && output.tail.hasPrefix("ä") && output.tail.hasSuffix("ä!"))
    }

    @Test("secrets reach neither the log file nor the tail nor the lines") func secrets() {
        let lines = CollectedOutput(limit: 1000)
        let output = RunOutput(path: folder.path + "/log", secrets: Secrets(["hunter2"]), lines: lines)
        for piece in ["pw hun", "ter2 end"] { Array(piece.utf8).withUnsafeBytes { output.receive($0) } }
        output.finish()
        #expect(output.tail == "pw *** end" && lines.text == "pw *** end" && folder.read("log") == "pw *** end")
    }
}

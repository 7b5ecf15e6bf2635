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

    /// What becomes of output that comes as it is.
    private func output(_ bytes: [UInt8], secrets: [String] = []) -> RunOutput {
        let output = RunOutput(path: folder.path + "/log", secrets: Secrets(secrets), lines: NoLines())
        bytes.withUnsafeBytes { output.receive($0) }
        output.finish()
        return output
    }

    @Test("the log file keeps bytes that are no text as they came") func rawFile() {
        _ = output([0, 0xFF, 0xFE, 10])
        #expect(FileManager.default.contents(atPath: folder.path + "/log") == Data([0, 0xFF, 0xFE, 10]))
    }

    @Test("what could have become a secret comes at the end") func heldBack() {
        #expect(output(Array("end s3cr3".utf8), secrets: ["s3cr3t"]).tail == "end s3cr3")
        #expect(folder.read("log") == "end s3cr3")
    }

    @Test("of longer output the tail is exactly the last 64 KiB") func tailLength() {
        let stream = (0..<200_000).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        let isEnd = output(stream).tail == String(decoding: stream.suffix(64 * 1024), as: UTF8.self)
        #expect(isEnd)
    }

    @Test("a tail that begins inside a character leaves that one out", arguments: ["€", "😀"], 0...3)
    func tailBegin(character: String, shift: Int) {
        let text = String(repeating: "x", count: shift) + String(repeating: character, count: 30_000)
        let tail = output(Array(text.utf8)).tail
        let isEnd = text.hasSuffix(tail) && tail.utf8.count > 64 * 1024 - 4 && tail.utf8.count <= 64 * 1024
        #expect(isEnd)
    }

    @Test("a tail of repaired bytes is no longer than 64 KiB either", arguments: [UInt8(0xFF), 0, 0x80])
    func repairedLength(byte: UInt8) {
        let tail = output([UInt8](repeating: byte, count: 100_000)).tail
        #expect(tail.utf8.count <= 64 * 1024 && tail.utf8.count > 32 * 1024)
    }

    @Test("a log file can be followed while the run goes on") func follow() {
        var log = RunLog(path: folder.path + "/log", limit: 1000)
        for line in ["first\n", "second\n"] { Array(line.utf8).withUnsafeBytes { log.append($0) } }
        #expect(folder.read("log") == "first\nsecond\n")
        log.close()
    }

    @Test("a log file never gets longer than its limit, not even on the way") func neverLonger() {
        var log = RunLog(path: folder.path + "/log", limit: 1000)
        for _ in 0..<20 {
            [UInt8](repeating: 97, count: 333).withUnsafeBytes { log.append($0) }
            #expect((folder.read("log") ?? "").utf8.count <= 1000)
        }
        log.close()
    }

    @Test("a file in the log's place is emptied and closed to others") func oldFile() throws {
        let path = try folder.write("log", "an old and longer content")
        try #require(chmod(path, 0o644) == 0)
        _ = log(10, limit: 1000, piece: 10)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600 && attributes[.size] as? Int == 10)
    }

    @Test("a symbolic link in the log's place is not followed") func symbolicLink() throws {
        let victim = try folder.write("victim", "precious")
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/log", withDestinationPath: victim)
        #expect(output(Array("text".utf8)).logFailure != nil)
        #expect(folder.read("victim") == "precious")
    }
}

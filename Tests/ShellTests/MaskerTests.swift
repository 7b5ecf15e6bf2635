import Testing

@testable import Shell

/// Runs pieces through a masker.
private func masked(_ pieces: [[UInt8]], _ secrets: [String]) -> String {
    var masker = Masker(Secrets(secrets))
    var result: [UInt8] = []
    for piece in pieces { piece.withUnsafeBytes { masker.push($0) { result.append(contentsOf: $0) } } }
    masker.finish { result.append(contentsOf: $0) }
    return String(decoding: result, as: UTF8.self)
}

@Suite struct MaskerTests {
    @Test(
        "a secret is replaced wherever two cuts fall",
        arguments: [
            (["hunter2"], "pw=hunter2; again hunter2!", "pw=***; again ***!"),
            (["abc", "abcdef"], "xabcdefx abcx", "x***x ***x"),
            (["abcd", "cdef"], "xabcdefx", "x***x"),
            (["aa"], "xaaax", "x***x"),
            (["line one\nline two"], "k: line one\nline two.", "k: ***."),
            (["-----BEGIN KEY-----\nabcdefgh1\n"], "  abcdefgh1\n  other", "  ***\n  other"),
            ([String](), "postgres://u:p@h/d", "postgres://u:***@h/d"),
            (
                [String](), "at https://me:p@ss@host:1/x?y and http://h/a:b@c",
                "at https://me:***@host:1/x?y and http://h/a:b@c"
            ),
            ([String](), "no secret: http://host/ and a://b", "no secret: http://host/ and a://b"),
            (["p"], "postgres://u:p@h", "***ostgres://u:***@h"),
            (["s3cr3t"], "s3cr3 s3cr3x s3cr", "s3cr3 s3cr3x s3cr"), (["aab"], "aaab aab", "a*** ***"),
            (["word", "password"], "a password a sword", "a *** a s***"), (["ab"], "abab", "******"),
            (["x"], "axbx", "a***b***"), (["pä€"], "é pä€ é", "é *** é"), (["a***b"], "a***b ***", "*** ***"),
            (["first line of it\nsecond line"], "first line of it\r\nsecond line\r\n", "***\r\n***\r\n"),
            ([String](), "redis://:pw@host", "redis://:***@host"),
            ([String](), "http://host:80/a@b https://me@host/a:b", "http://host:80/a@b https://me@host/a:b"),
            ([String](), "\"https://host\":\"a:b@c\"", "\"https://host\":\"a:b@c\""),
            (["t0ken"], "https://t0ken:pw@host/", "https://***:***@host/"),
            (["a://m:p@h"], "use a://m:p@h/x", "use ***/x"),
        ])
    func everyCut(secrets: [String], text: String, expected: String) {
        let bytes = Array(text.utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]].map(Array.init)
                #expect(masked(pieces, secrets) == expected, "cut at \(first) and \(second)")
            }
        }
    }

    @Test("what comes out never holds a secret, for random secrets, texts and cuts", arguments: 0..<40)
    func random(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed) + 1)
        let secrets = (0..<3).map { _ in
            String(
                (0..<Int.random(in: 2...5, using: &generator)).map { _ in "abc".randomElement(using: &generator) ?? "a"
                })
        }
        let text = (0..<400).map { _ in UInt8(ascii: "abcd".unicodeScalars.randomElement(using: &generator) ?? "a") }
        var pieces: [[UInt8]] = []
        var rest = text[...]
        while !rest.isEmpty {
            let count = min(rest.count, Int.random(in: 1...7, using: &generator))
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        let result = masked(pieces, secrets)
        for secret in secrets { #expect(!result.contains(secret)) }
        // Everything outside a match comes through: the letter d is in no secret.
        #expect(result.filter { $0 == "d" }.count == text.filter { $0 == UInt8(ascii: "d") }.count)
        #expect(result == masked([text], secrets))
    }

    @Test("a secret that begins with a long overlap of others is hidden to its end", arguments: [4, 4095, 4096, 5001])
    func longOverlap(length: Int) {
        let dashes = Array(String(repeating: "-", count: length).utf8)
        #expect(masked([dashes, Array("hunter2 end".utf8)], ["----", "----hunter2"]) == "*** end")
        #expect(masked([dashes, Array("hunter3 end".utf8)], ["----", "----hunter2"]) == "***hunter3 end")
    }

    @Test("nothing is held back but what may become a secret")
    func immediate() {
        var masker = Masker(Secrets(["secret"]))
        var out = ""
        func push(_ text: String) {
            Array(text.utf8).withUnsafeBytes { masker.push($0) { out += String(decoding: $0, as: UTF8.self) } }
        }
        push("done\nsecr")
        #expect(out == "done\n")
        push("ecy\n")
        #expect(out == "done\nsecrecy\n")
        for _ in 0..<2000 { push("x://" + String(repeating: "y", count: 50)) }
        #expect(out.utf8.count > 2000 * 54 - 2048)
    }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

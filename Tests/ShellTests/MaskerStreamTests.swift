import Testing

@testable import Shell

/// Runs pieces through a masker, each in memory of its own that is gone after the push.
private func masked(_ pieces: [[UInt8]], _ secrets: [String]) -> [UInt8] {
    var masker = Masker(Secrets(secrets))
    var result: [UInt8] = []
    for piece in pieces { piece.withUnsafeBytes { masker.push($0) { result.append(contentsOf: $0) } } }
    masker.finish { result.append(contentsOf: $0) }
    return result
}

/// Masks a text as a whole, in the plainest way: every place of every secret, every password in a URL, overlapping ones
/// as one.
private func plainlyMasked(_ bytes: [UInt8], _ secrets: [[UInt8]]) -> [UInt8] {
    var hidden: [Range<Int>] = []
    for secret in secrets where secret.count <= bytes.count {
        for start in 0...(bytes.count - secret.count) where bytes[start...].starts(with: secret) {
            hidden.append(start..<(start + secret.count))
        }
    }
    let ends = Set(Array(0...32) + Array("/?#\"'<>".utf8))
    for start in bytes.indices where bytes[start...].starts(with: "://".utf8) {
        let authority = bytes[(start + 3)...].prefix { !ends.contains($0) }
        if let at = authority.lastIndex(of: 64), let colon = authority[..<at].firstIndex(of: 58), colon + 1 < at {
            hidden.append((colon + 1)..<at)
        }
    }
    hidden.sort { ($0.lowerBound, $0.upperBound) < ($1.lowerBound, $1.upperBound) }
    var groups: [Range<Int>] = []
    for range in hidden {
        if let last = groups.last, range.lowerBound < last.upperBound {
            groups[groups.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
        } else {
            groups.append(range)
        }
    }
    var result: [UInt8] = []
    var position = 0
    for group in groups {
        result += bytes[position..<group.lowerBound] + Array("***".utf8)
        position = group.upperBound
    }
    return result + bytes[position...]
}

/// What a masker does with streams: random ones, and those of which every byte could begin something secret.
@Suite(.timeLimit(.minutes(1)))
struct MaskerStreamTests {
    @Test(
        "random texts in random pieces come out as from a masker that sees the whole text", arguments: 1...10,
        [["a", "b", "c"], ["://", "a", "b", ":", "@", " ", "/"]])
    func random(seed: Int, parts: [String]) {
        var generator = SeededGenerator(seed: UInt64(seed))
        func text(_ length: ClosedRange<Int>) -> [UInt8] {
            (0..<Int.random(in: length, using: &generator)).flatMap { _ in
                Array((parts.randomElement(using: &generator) ?? "a").utf8)
            }
        }
        var wrong: [String] = []
        for _ in 0..<60 {
            let secrets = (0..<Int.random(in: 1...4, using: &generator)).map { _ in text(2...6) }
            let pieces = (0..<Int.random(in: 1...6, using: &generator)).map { _ in text(0...10) }
            let names = secrets.map { String(decoding: $0, as: UTF8.self) }
            if masked(pieces, names) != plainlyMasked(Array(pieces.joined()), Secrets(names).values) {
                wrong.append("\(names) in \(pieces.map { String(decoding: $0, as: UTF8.self) })")
            }
        }
        #expect(wrong.isEmpty)
    }

    @Test("bytes that are no text pass unchanged, and a secret between them is found")
    func anyBytes() {
        let bytes = (0...255).map { UInt8($0) } + [0xFF, 0xC3, 0x28]
        #expect(masked([bytes], ["s3cr3t"]) == bytes)
        #expect(
            masked([[0xFF, 0xC3] + Array("s3cr3t".utf8) + [0x80]], ["s3cr3t"])
                == [0xFF, 0xC3] + Array("***".utf8) + [0x80])
    }

    @Test(
        "little is held back, however long the stream",
        arguments: [
            ("a secret's first byte", [String(repeating: "a", count: 500) + "b"], "", "a"),
            ("a URL that does not end", [], "x://", "a"), ("a password that does not end", [], "x://me:", "a"),
            ("slashes", [], "", "/"), ("colons and slashes", ["://:"], "", ":/"),
        ])
    func held(name: String, secrets: [String], begin: String, repeated: String) {
        let stream = Array((begin + String(repeating: repeated, count: 30_000)).utf8)
        var masker = Masker(Secrets(secrets))
        var (pushed, emitted, most) = (0, 0, 0)
        for start in stride(from: 0, to: stream.count, by: 333) {
            let piece = Array(stream[start..<min(start + 333, stream.count)])
            pushed += piece.count
            piece.withUnsafeBytes { masker.push($0) { emitted += $0.count } }
            most = max(most, pushed - emitted)
        }
        masker.finish { emitted += $0.count }
        #expect(most <= 1100 && emitted == stream.count)
    }
}

import CAgentShims

/// Replaces secrets in a stream of bytes, also where one is split over several pushes.
///
/// Bytes that may be the beginning of a secret are held back until it is clear: at most the length of the longest secret
/// or of a URL's credentials (1 KiB). Memory does not depend on the stream's length.
struct Masker {
    private let patterns: [[UInt8]]
    private var held: [UInt8] = []
    /// How many of the bytes held back belong to a match that was emitted as `***` already and may go on.
    private var covered = 0

    private static let scheme: [UInt8] = Array("://".utf8)
    private static let replacement: [UInt8] = Array(Secrets.replacement.utf8)
    private static let longestCredentials = 1024

    init(_ secrets: Secrets) {
        patterns = secrets.values
    }

    /// Takes the next bytes and emits what is certain.
    mutating func push(_ bytes: UnsafeRawBufferPointer, emit: (UnsafeRawBufferPointer) -> Void) {
        if held.isEmpty {
            let rest = process(bytes, final: false, emit: emit)
            held.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[rest...]))
        } else {
            held.append(contentsOf: bytes)
            let joined = held
            let rest = joined.withUnsafeBytes { process($0, final: false, emit: emit) }
            held = Array(joined[rest...])
        }
    }

    /// Emits what was held back: the stream has ended, so it is no secret.
    mutating func finish(emit: (UnsafeRawBufferPointer) -> Void) {
        let rest = held
        held = []
        rest.withUnsafeBytes { _ = process($0, final: true, emit: emit) }
    }

    /// Emits a prefix of `bytes`, masked, and returns where the part begins that must be held back.
    private mutating func process(
        _ bytes: UnsafeRawBufferPointer, final: Bool, emit: (UnsafeRawBufferPointer) -> Void
    ) -> Int {
        let certain = final ? bytes.count : undecidedStart(bytes)
        var position = 0
        var search = Search(bytes: bytes, patterns: patterns)
        if covered > 0 { position = search.grow(from: 0, to: covered) }
        while let match = search.next(from: position, certain: certain) {
            emitSlice(bytes, position, match.start, emit)
            Self.replacement.withUnsafeBytes(emit)
            position = match.end
        }
        // A match that reaches into the undecided part may be continued by one that begins there.
        covered = final ? 0 : max(0, position - certain)
        if covered > 0 { return certain }
        let end = max(position, certain)
        emitSlice(bytes, position, end, emit)
        return end
    }

    private func emitSlice(
        _ bytes: UnsafeRawBufferPointer, _ from: Int, _ to: Int, _ emit: (UnsafeRawBufferPointer) -> Void
    ) {
        if from < to { emit(UnsafeRawBufferPointer(rebasing: bytes[from..<to])) }
    }

    /// The first position from which on the bytes may be the beginning of a secret that goes on in the next push.
    private func undecidedStart(_ bytes: UnsafeRawBufferPointer) -> Int {
        var start = bytes.count
        for pattern in patterns + [Self.scheme] {
            var index = max(0, bytes.count - pattern.count + 1)
            while index < start {
                if Self.isPrefix(bytes, from: index, of: pattern) {
                    start = index
                    break
                }
                index += 1
            }
        }
        // "://" whose credentials have not ended yet.
        var from = max(0, bytes.count - Self.longestCredentials)
        while let at = Self.find(Self.scheme, in: bytes, from: from), at < start {
            if Self.credentialsEnd(bytes, from: at + 3) == nil {
                start = at
                break
            }
            from = at + 3
        }
        return start
    }

    private static func isPrefix(_ bytes: UnsafeRawBufferPointer, from start: Int, of pattern: [UInt8]) -> Bool {
        var index = start
        while index < bytes.count {
            if bytes[index] != pattern[index - start] { return false }
            index += 1
        }
        return true
    }

    fileprivate static func find(_ pattern: [UInt8], in bytes: UnsafeRawBufferPointer, from: Int) -> Int? {
        guard from < bytes.count, let base = bytes.baseAddress else { return nil }
        let offset = agent_find(base + from, bytes.count - from, pattern, pattern.count)
        return offset < 0 ? nil : from + offset
    }

    /// Where the authority part of a URL ends; nil when it goes on to the end of the bytes and may go on beyond.
    fileprivate static func credentialsEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        let limit = min(bytes.count, start + longestCredentials)
        while index < limit {
            switch bytes[index] {
            case 0...32, UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "\""), UInt8(ascii: "'"),
                UInt8(ascii: "<"), UInt8(ascii: ">"):
                return index
            default: index += 1
            }
        }
        return limit < bytes.count || limit - start >= longestCredentials ? limit : nil
    }

    /// Finds the next place to mask: a pattern, several overlapping ones, or the password of a URL.
    private struct Search {
        let bytes: UnsafeRawBufferPointer
        let patterns: [[UInt8]]
        /// Next match of each pattern at or after the position last asked for; nil when there is none any more.
        private var next: [Int?]
        private var nextURL: Range<Int>?
        private var urlSearchedFrom = 0

        init(bytes: UnsafeRawBufferPointer, patterns: [[UInt8]]) {
            self.bytes = bytes
            self.patterns = patterns
            next = patterns.map { Masker.find($0, in: bytes, from: 0) }
            nextURL = password(from: 0)
        }

        mutating func next(from position: Int, certain: Int) -> (start: Int, end: Int)? {
            for index in patterns.indices {
                if let at = next[index], at < position {
                    next[index] = Masker.find(patterns[index], in: bytes, from: position)
                }
            }
            if let url = nextURL, url.lowerBound < position { nextURL = password(from: urlSearchedFrom) }
            var start = nextURL?.lowerBound ?? Int.max
            for case let at? in next { start = min(start, at) }
            guard start < certain else { return nil }
            return (start, grow(from: start, to: start))
        }

        /// Grows a match over every one that begins inside: what two overlapping secrets cover is masked as one.
        /// - Returns: its end.
        mutating func grow(from start: Int, to covered: Int) -> Int {
            var end = covered
            var grew = true
            while grew {
                grew = false
                if let url = nextURL, url.lowerBound < end || url.lowerBound == start, url.upperBound > end {
                    end = url.upperBound
                    grew = true
                }
                for index in patterns.indices {
                    while let at = next[index], at == start || at < end {
                        if at + patterns[index].count > end {
                            end = at + patterns[index].count
                            grew = true
                        }
                        next[index] = Masker.find(patterns[index], in: bytes, from: at + 1)
                    }
                }
            }
            return end
        }

        /// The next password in a URL: between the first colon after "://" and the last "@" before the path.
        private mutating func password(from position: Int) -> Range<Int>? {
            var from = position
            while let at = Masker.find(Masker.scheme, in: bytes, from: from) {
                let begin = at + 3
                let end = Masker.credentialsEnd(bytes, from: begin) ?? bytes.count
                urlSearchedFrom = begin
                from = begin
                guard let sign = bytes[begin..<end].lastIndex(of: UInt8(ascii: "@")),
                    let colon = bytes[begin..<sign].firstIndex(of: UInt8(ascii: ":")), colon + 1 < sign
                else { continue }
                return (colon + 1)..<sign
            }
            urlSearchedFrom = bytes.count
            return nil
        }
    }
}

import Glibc

/// A pattern of paths in which `*`, `?` and `[…]` match no slash, and a part `**` any number of folders: what git calls
/// `glob` (gitglossary(7), "pathspec"; its wildmatch.c).
///
/// A pattern that names a folder as it is written matches all below it.
struct Glob {
    private enum Token {
        case byte(UInt8)
        /// One of these, no slash.
        case oneOf([Bool])
        /// `*`.
        case anyText
        /// `**/`: nothing, or all up to a slash.
        case anyFolders
        /// `**` at the end.
        case anyPath
        /// What git takes for no pattern.
        case nothing
    }

    private let pattern: [UInt8]
    /// Of the pattern it is what comes before the first sign that is not itself.
    private let prefix: Int
    private let tokens: [Token]
    private let ignoresCase: Bool

    init(_ text: String, ignoresCase: Bool) {
        self.ignoresCase = ignoresCase
        let pattern = Array(text.utf8).map { ignoresCase ? Self.lowercase($0) : $0 }
        self.pattern = pattern
        prefix = pattern.firstIndex { "*?[\\".utf8.contains($0) } ?? pattern.count
        tokens = Self.tokens(pattern[prefix...], ignoresCase: ignoresCase)
    }

    private static let slash = UInt8(ascii: "/")

    private static func lowercase(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte + 32 : byte
    }

    // MARK: - Matching

    func matches(_ path: ArraySlice<UInt8>) -> Bool {
        let path = ignoresCase ? path.map(Self.lowercase) : Array(path)
        return isOrHolds(path) || path.starts(with: pattern[..<prefix]) && matches(path, from: prefix)
    }

    /// Whether the pattern, read as a name, is the path's or that of a folder above it.
    private func isOrHolds(_ path: [UInt8]) -> Bool {
        path.starts(with: pattern)
            && (path.count == pattern.count || path[pattern.count] == Self.slash || pattern.last == Self.slash)
    }

    /// From left to right; where a token does not fit, the last `*` takes a byte more, or the last `**/` a folder more.
    private func matches(_ path: [UInt8], from start: Int) -> Bool {
        var (token, byte) = (0, start)
        var (text, textEnd) = (-1, 0)
        var (folders, foldersEnd) = (-1, 0)
        while true {
            if token == tokens.count {
                if byte == path.count { return true }
            } else {
                switch tokens[token] {
                case .anyPath: return true
                case .anyText:
                    (text, textEnd) = (token, byte)
                    token += 1
                    continue
                case .anyFolders:
                    (folders, foldersEnd) = (token, byte)
                    text = -1
                    token += 1
                    continue
                case .byte(let wanted):
                    if byte < path.count, path[byte] == wanted {
                        (token, byte) = (token + 1, byte + 1)
                        continue
                    }
                case .oneOf(let set):
                    if byte < path.count, set[Int(path[byte])] {
                        (token, byte) = (token + 1, byte + 1)
                        continue
                    }
                case .nothing: return false
                }
            }
            if text >= 0, textEnd < path.count, path[textEnd] != Self.slash {
                textEnd += 1
                (token, byte) = (text + 1, textEnd)
            } else if folders >= 0, let next = path[foldersEnd...].firstIndex(of: Self.slash) {
                foldersEnd = next + 1
                (token, byte, text) = (folders + 1, foldersEnd, -1)
            } else {
                return false
            }
        }
    }

    // MARK: - Reading a pattern

    private static func tokens(_ pattern: ArraySlice<UInt8>, ignoresCase: Bool) -> [Token] {
        var tokens: [Token] = []
        var rest = pattern
        var isAtStart = true
        while let sign = rest.popFirst() {
            switch sign {
            case UInt8(ascii: "*"):
                let more = rest.prefix { $0 == sign }
                rest = rest.dropFirst(more.count)
                if !more.isEmpty, isAtStart, rest.isEmpty {
                    tokens.append(.anyPath)
                } else if !more.isEmpty, isAtStart, rest.first == slash {
                    rest = rest.dropFirst()
                    tokens.append(.anyFolders)
                    // What follows begins after a slash.
                    continue
                } else {
                    tokens.append(.anyText)
                }
            case UInt8(ascii: "?"): tokens.append(.oneOf(set { $0 != slash }))
            case UInt8(ascii: "["): tokens.append(Self.set(&rest, ignoresCase: ignoresCase))
            case UInt8(ascii: "\\"): tokens.append(rest.popFirst().map { .byte($0) } ?? .nothing)
            default: tokens.append(.byte(sign))
            }
            isAtStart = sign == slash
        }
        return tokens
    }

    private static func set(_ contains: (UInt8) -> Bool) -> [Bool] { (0...255).map { contains(UInt8($0)) } }

    /// What stands between brackets; the first of them is read already.
    private static func set(_ rest: inout ArraySlice<UInt8>, ignoresCase: Bool) -> Token {
        var members = set { _ in false }
        var isNegated = false
        if let first = rest.first, "!^".utf8.contains(first) {
            isNegated = true
            rest = rest.dropFirst()
        }
        var isFirst = true
        while let sign = rest.popFirst() {
            if sign == UInt8(ascii: "]"), !isFirst {
                return .oneOf(set { $0 != slash && members[Int($0)] != isNegated })
            }
            isFirst = false
            if sign == UInt8(ascii: "["), rest.first == UInt8(ascii: ":"),
                let end = rest.firstIndex(of: UInt8(ascii: "]")),
                end > rest.startIndex + 1, rest[end - 1] == UInt8(ascii: ":")
            {
                let name = String(decoding: rest[(rest.startIndex + 1)..<(end - 1)], as: UTF8.self)
                guard let contains = classes[ignoresCase && name == "upper" ? "lower" : name] else { return .nothing }
                for byte in 0..<128 where contains(Int32(byte)) != 0 { members[byte] = true }
                rest = rest[(end + 1)...]
                continue
            }
            guard let low = sign == UInt8(ascii: "\\") ? rest.popFirst() : sign else { return .nothing }
            var high = low
            if rest.first == UInt8(ascii: "-"), let next = rest.dropFirst().first, next != UInt8(ascii: "]") {
                rest = rest.dropFirst(2)
                guard let end = next == UInt8(ascii: "\\") ? rest.popFirst() : next else { return .nothing }
                high = end
            }
            if low <= high { for byte in low...high { members[Int(byte)] = true } }
        }
        return .nothing
    }

    /// Of POSIX, in the C locale.
    private static let classes: [String: @Sendable (Int32) -> Int32] = [
        "alnum": { isalnum($0) }, "alpha": { isalpha($0) }, "blank": { isblank($0) }, "cntrl": { iscntrl($0) },
        "digit": { isdigit($0) }, "graph": { isgraph($0) }, "lower": { islower($0) }, "print": { isprint($0) },
        "punct": { ispunct($0) }, "space": { isspace($0) }, "upper": { isupper($0) }, "xdigit": { isxdigit($0) },
    ]
}

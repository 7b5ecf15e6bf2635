import Glibc

/// A pattern of paths in which `*`, `?` and `[…]` match no slash, and a part `**` matches any number of folders: what git
/// calls `glob` (gitglossary(7), "pathspec").
///
/// A pattern that names a folder as it is written matches all below it.
struct Glob {
    /// The text between slashes, each with a NUL at its end.
    private let parts: [[CChar]]
    private let literal: [UInt8]
    private let flags: Int32

    /// FNM_CASEFOLD of fnmatch(3), which a header shows to GNU sources only.
    private static let caseFold: Int32 = 1 << 4

    init(_ pattern: String, ignoresCase: Bool) {
        literal = Array(pattern.utf8)
        parts = Self.parts(literal)
        flags = ignoresCase ? Self.caseFold : 0
    }

    func matches(_ path: [UInt8]) -> Bool { isOrHolds(path) || matches(Self.parts(path)) }

    private static func parts(_ path: [UInt8]) -> [[CChar]] {
        path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { $0.map { CChar(bitPattern: $0) } + [0] }
    }

    /// Whether the pattern, read as a name, is the path's or that of a folder above it.
    private func isOrHolds(_ path: [UInt8]) -> Bool {
        guard literal.count <= path.count else { return false }
        let isSame =
            flags == 0 ? path.starts(with: literal) : path.starts(with: literal) { lowercase($0) == lowercase($1) }
        let slash = UInt8(ascii: "/")
        return isSame && (path.count == literal.count || path[literal.count] == slash || literal.last == slash)
    }

    private func lowercase(_ byte: UInt8) -> Int32 { tolower(Int32(byte)) }

    /// From left to right; where a part does not fit, the last `**` takes one folder more.
    private func matches(_ names: [[CChar]]) -> Bool {
        var (part, name) = (0, 0)
        var (anyDepth, taken) = (-1, 0)
        while name < names.count {
            if part < parts.count, Self.isAnyDepth(parts[part]) {
                // At the end it is all that is left.
                if part == parts.count - 1 { return true }
                (anyDepth, taken) = (part, name)
                part += 1
            } else if part < parts.count, fnmatch(parts[part], names[name], flags) == 0 {
                part += 1
                name += 1
            } else if anyDepth >= 0 {
                taken += 1
                (part, name) = (anyDepth + 1, taken)
            } else {
                return false
            }
        }
        return part == parts.count
    }

    private static func isAnyDepth(_ part: [CChar]) -> Bool {
        part.count > 2 && part.dropLast().allSatisfy { $0 == CChar(bitPattern: UInt8(ascii: "*")) }
    }
}

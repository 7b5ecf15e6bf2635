import CLibgit2

/// One pathspec as git has them (gitglossary(7), "pathspec"): a pattern, and magic words before it.
///
/// Of the magic `top`, `exclude`, `icase`, `literal` and `glob` are known, also as `:/`, `:!` and `:^`. Without magic `*` matches
/// slashes too, and a pattern that names a folder matches all below it.
public struct Pathspec: Sendable, Equatable {
    let pattern: String
    var isExcluded = false
    var ignoresCase = false
    var isLiteral = false
    var isGlob = false

    /// Nil for what is none, or has magic that is not known.
    public init?(_ text: String) {
        guard !text.isEmpty, !text.utf8.contains(0) else { return nil }
        guard text.hasPrefix(":") else {
            pattern = text
            guard !leadsOutside else { return nil }
            return
        }
        var rest = text.dropFirst()
        if rest.hasPrefix("(") {
            guard let end = rest.firstIndex(of: ")") else { return nil }
            for word in rest.dropFirst().prefix(upTo: end).split(separator: ",") {
                switch word {
                // Paths are always taken from the root.
                case "top": break
                case "exclude": isExcluded = true
                case "icase": ignoresCase = true
                case "literal": isLiteral = true
                case "glob": isGlob = true
                default: return nil
                }
            }
            // As git has it.
            guard !isLiteral || !isGlob else { return nil }
            rest = rest[rest.index(after: end)...]
        } else {
            loop: while let sign = rest.first {
                switch sign {
                case "/": break
                case "!", "^": isExcluded = true
                case ":":
                    rest = rest.dropFirst()
                    break loop
                default:
                    // Other signs are kept for magic to come.
                    guard sign.isLetter || sign.isNumber || "*._-?[".contains(sign) else { return nil }
                    break loop
                }
                rest = rest.dropFirst()
            }
        }
        pattern = String(rest)
        guard !leadsOutside else { return nil }
    }

    /// Whether it begins above the root, where no path can match.
    private var leadsOutside: Bool { pattern == ".." || pattern.hasPrefix("../") }

    /// Those of a list that a path matches by git's rule: one of those that are not excluded, if there are any, and none of
    /// the excluded ones.
    final class Matcher {
        private var included: [Pattern] = []
        private var excluded: [Pattern] = []

        init(_ specs: [Pathspec]) {
            for spec in specs {
                if spec.isExcluded { excluded.append(Pattern(spec)) } else { included.append(Pattern(spec)) }
            }
        }

        func matches(_ path: [UInt8]) -> Bool {
            let text = path + [0]
            return (included.isEmpty || included.contains { $0.matches(text) })
                && !excluded.contains { $0.matches(text) }
        }
    }

    private enum Pattern {
        /// Nothing but magic: every path.
        case all
        case glob(Glob)
        case other(Compiled)

        init(_ spec: Pathspec) {
            let pattern = Self.normal(spec.pattern)
            if pattern.isEmpty {
                self = .all
            } else if spec.isGlob {
                self = .glob(Glob(pattern, ignoresCase: spec.ignoresCase))
            } else {
                self = .other(Compiled(pattern, ignoresCase: spec.ignoresCase, isLiteral: spec.isLiteral))
            }
        }

        /// Without what says nothing in a path: `.`, and a slash beside another.
        private static func normal(_ pattern: String) -> String {
            let parts = pattern.split(separator: "/").filter { $0 != "." }
            return parts.joined(separator: "/") + (pattern.hasSuffix("/") && !parts.isEmpty ? "/" : "")
        }

        /// - Parameter path: with a NUL at its end.
        func matches(_ path: [UInt8]) -> Bool {
            switch self {
            case .all: true
            case .glob(let glob): glob.matches(path.dropLast())
            case .other(let compiled): compiled.matches(path)
            }
        }
    }

    /// A pattern as libgit2 keeps it.
    private final class Compiled {
        private var handle: OpaquePointer?
        private let flags: UInt32

        init(_ pattern: String, ignoresCase: Bool, isLiteral: Bool) {
            flags =
                (ignoresCase ? GIT_PATHSPEC_IGNORE_CASE.rawValue : GIT_PATHSPEC_USE_CASE.rawValue)
                | (isLiteral ? GIT_PATHSPEC_NO_GLOB.rawValue : 0)
            var pattern = pattern
            // Below the folder, and not a file of that name.
            if pattern.hasSuffix("/"), !isLiteral { pattern += "*" }
            // To libgit2 these are signs as in gitattributes(5).
            if let first = pattern.first, "!#".contains(first) { pattern = "\\" + pattern }
            pattern.withCString { text in
                var copy: UnsafeMutablePointer<CChar>? = UnsafeMutablePointer(mutating: text)
                withUnsafeMutablePointer(to: &copy) { strings in
                    var array = git_strarray(strings: strings, count: 1)
                    _ = git_pathspec_new(&handle, &array)
                }
            }
        }

        deinit { git_pathspec_free(handle) }

        func matches(_ path: [UInt8]) -> Bool {
            guard let handle else { return false }
            return path.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) {
                    git_pathspec_matches_path(handle, flags, $0.baseAddress) == 1
                }
            }
        }
    }
}

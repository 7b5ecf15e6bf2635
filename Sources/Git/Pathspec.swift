import CLibgit2

/// One pathspec as git has them (gitglossary(7), "pathspec"): a pattern, and magic words before it.
///
/// Of the magic `top`, `exclude`, `icase` and `literal` are known, also as `:/`, `:!` and `:^`. Without magic `*` matches
/// slashes too, and a pattern that names a folder matches all below it.
public struct Pathspec: Sendable, Equatable {
    let pattern: String
    var isExcluded = false
    var ignoresCase = false
    var isLiteral = false

    /// Nil for what is none, or has magic that is not known.
    public init?(_ text: String) {
        guard !text.isEmpty, !text.utf8.contains(0) else { return nil }
        guard text.hasPrefix(":") else {
            pattern = text
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
                default: return nil
                }
            }
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
    }

    /// Those of a list that a path matches by git's rule: one of those that are not excluded, if there are any, and none of
    /// the excluded ones.
    final class Matcher {
        private var included: [Compiled] = []
        private var excluded: [Compiled] = []

        init(_ specs: [Pathspec]) {
            for spec in specs {
                let compiled = Compiled(spec)
                if spec.isExcluded { excluded.append(compiled) } else { included.append(compiled) }
            }
        }

        func matches(_ path: [UInt8]) -> Bool {
            let path = path + [0]
            return path.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) { text in
                    guard let text = text.baseAddress else { return false }
                    return (included.isEmpty || included.contains { $0.matches(text) })
                        && !excluded.contains { $0.matches(text) }
                }
            }
        }
    }

    /// A pattern as libgit2 keeps it.
    private final class Compiled {
        private var handle: OpaquePointer?
        private let flags: UInt32
        /// Nothing but magic: every path.
        private let matchesAll: Bool

        init(_ spec: Pathspec) {
            matchesAll = spec.pattern.isEmpty || spec.pattern == "."
            flags =
                (spec.ignoresCase ? GIT_PATHSPEC_IGNORE_CASE.rawValue : GIT_PATHSPEC_USE_CASE.rawValue)
                | (spec.isLiteral ? GIT_PATHSPEC_NO_GLOB.rawValue : 0)
            var pattern = spec.pattern
            while pattern.hasPrefix("./") { pattern = String(pattern.dropFirst(2)) }
            // Below the folder, and not a file of that name.
            if pattern.hasSuffix("/"), !spec.isLiteral { pattern += "*" }
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

        func matches(_ path: UnsafePointer<CChar>) -> Bool {
            matchesAll || handle.map { git_pathspec_matches_path($0, flags, path) == 1 } ?? false
        }
    }
}

/// A connection string as it stands, taken apart before libpq sees it.
///
/// libpq takes the parts of a password with a raw special character for host, port or database, connects there, and quotes them.
/// So a text whose parts are in doubt is refused, and no part of it is named that may belong to a password.
struct ConnectionText {
    typealias Bytes = Substring.UTF8View

    /// Every password as it stands in the text, still encoded.
    private(set) var passwords: [String] = []
    private let keywords: Set<String>

    /// What other programs take in such a URL: a name of these is no part of a password, wherever it stands.
    private static let foreign: Set<String> = [
        "schema", "currentSchema", "search_path", "pgbouncer", "connection_limit", "pool_timeout", "pool_size", "ssl",
        "sslaccept", "charset", "encoding", "serverVersion", "statement_timeout", "prepareThreshold", "loginTimeout",
        "socketTimeout", "ApplicationName", "driver", "timezone",
    ]

    /// - Parameter keywords: what libpq knows.
    /// - Throws: `PostgresError` `invalid`, without a value of the text.
    init(_ text: String, keywords: Set<String>) throws {
        self.keywords = keywords
        let schemes = ["postgresql://", "postgres://"]
        if let scheme = schemes.first(where: text.hasPrefix) {
            try readURL(text.utf8.dropFirst(scheme.utf8.count))
        } else if text.utf8.contains(UInt8(ascii: "=")) {
            try readPairs(text[...].utf8)
        } else {
            throw Self.invalid("it is neither a postgresql:// URL nor keyword=value pairs")
        }
    }

    private static func invalid(_ message: String) -> PostgresError { PostgresError(.invalid, message: message) }

    // MARK: - A URL

    /// As libpq reads it: the first "@" before the first "/" ends user and password.
    private mutating func readURL(_ rest: Bytes) throws {
        var rest = rest
        let user = rest.prefix { $0 != UInt8(ascii: "@") && $0 != UInt8(ascii: "/") }
        if rest[user.endIndex...].first == UInt8(ascii: "@") {
            if let colon = user.firstIndex(of: UInt8(ascii: ":")) {
                passwords.append(Self.text(user[user.index(after: colon)...]))
            }
            rest = rest[rest.index(after: user.endIndex)...]
            try checkEncoding(user, "user or password")
        }
        let hosts = rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
        rest = rest[hosts.endIndex...]
        let path = rest.prefix { $0 != UInt8(ascii: "?") }
        let query = rest[path.endIndex...].dropFirst()
        if hosts.contains(UInt8(ascii: "@")) || path.contains(UInt8(ascii: "@")) {
            throw Self.invalid(
                "there is more than one @ before the host, or a / before it; \(Self.encode("@ as %40, / as %2F"))")
        }
        for host in hosts.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            try checkHost(host)
        }
        try checkEncoding(path, "database")
        // Behind an "@" that comes so late nothing is certain.
        try readQuery(query, isCertain: !query.contains(UInt8(ascii: "@")))
    }

    private func checkHost(_ host: Bytes) throws {
        try checkEncoding(host, "host")
        var rest = host
        if host.first == UInt8(ascii: "[") {
            guard let end = host.firstIndex(of: UInt8(ascii: "]")) else {
                throw Self.invalid("the host has a [ without a ]")
            }
            rest = host[host.index(after: end)...]
        }
        guard let colon = rest.firstIndex(of: UInt8(ascii: ":")) else { return }
        let port = Self.text(rest[rest.index(after: colon)...])
        guard port.isEmpty || ConnectionString.isPort(port) else {
            throw Self.invalid(
                "what stands between the host's : and the next / is no port; where it belongs to a password, "
                    + Self.encode("/ as %2F, ? as %3F, # as %23, : as %3A, @ as %40"))
        }
    }

    private mutating func readQuery(_ query: Bytes, isCertain: Bool) throws {
        guard !query.isEmpty else { return }
        var isCertain = isCertain
        // libpq takes one "&" too many at the end.
        let parameters = query.last == UInt8(ascii: "&") ? query.dropLast() : query
        for (index, parameter) in parameters.split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: false)
            .enumerated()
        {
            let parts = parameter.split(separator: UInt8(ascii: "="), omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Self.invalid(
                    "parameter \(index + 1) behind the ? is not name=value; \(Self.encode("& as %26, = as %3D"))")
            }
            try checkEncoding(parameter, "parameter \(index + 1) behind the ?")
            let name = Self.text(parts[0])
            if name == "password" || name == "sslpassword" {
                passwords.append(Self.text(parts[1]))
                isCertain = false
            }
            // libpq itself takes this one of JDBC's.
            guard !keywords.contains(name), !(name == "ssl" && Self.text(parts[1]) == "true") else { continue }
            throw Self.invalid(
                isCertain && Self.isName(name) || Self.foreign.contains(name)
                    ? "libpq knows no parameter `\(name)`"
                    : "libpq does not know parameter \(index + 1) behind the ?; where it belongs to a password, "
                        + Self.encode("& as %26, ? as %3F, / as %2F"))
        }
    }

    private func checkEncoding(_ part: Bytes, _ what: String) throws {
        let pieces = part.split(separator: UInt8(ascii: "%"), omittingEmptySubsequences: false).dropFirst()
        let areCodes = pieces.allSatisfy { piece in
            let digits = piece.prefix(2)
            return digits.count == 2 && digits.allSatisfy { (48...57).contains($0) || (97...102).contains($0 | 32) }
                && !digits.elementsEqual("00".utf8)
        }
        guard areCodes else { throw Self.invalid("a % in the \(what) begins no code; \(Self.encode("% as %25"))") }
    }

    private static func encode(_ examples: String) -> String {
        "percent-encode special characters of user and password: \(examples)"
    }

    // MARK: - Pairs

    /// `keyword = value`, the value in quotes where it has white space, with `\` before `'` and `\`.
    private mutating func readPairs(_ text: Bytes) throws {
        var rest = text
        var unknown: String?
        var isCertain = true
        var isOfLibpq = false
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
        while true {
            rest = rest.drop(while: isSpace)
            if rest.isEmpty { break }
            let keyword = Self.text(rest.prefix { $0 != UInt8(ascii: "=") && !isSpace($0) })
            rest = rest.dropFirst(keyword.utf8.count).drop(while: isSpace)
            guard rest.popFirst() == UInt8(ascii: "=") else {
                throw Self.invalid(
                    "it is not keyword=value pairs throughout; a value with white space stands in quotes: password='…'")
            }
            let value = try readValue(&rest, isSpace)
            if keyword == "password" || keyword == "sslpassword" {
                passwords.append(value)
                isCertain = false
            }
            // One with a password, perhaps, that has white space.
            if value.contains("://") { isCertain = false }
            if keywords.contains(keyword) {
                isOfLibpq = true
            } else if unknown == nil {
                unknown = isCertain && Self.isName(keyword) ? "libpq knows no keyword `\(keyword)`" : ""
            }
        }
        guard let unknown else { return }
        throw Self.invalid(
            isOfLibpq && !unknown.isEmpty
                ? unknown : "it has a keyword that libpq does not know, or is no connection string")
    }

    /// - Returns: the value as it stands, without its quotes.
    private func readValue(_ rest: inout Bytes, _ isSpace: (UInt8) -> Bool) throws -> String {
        rest = rest.drop(while: isSpace)
        let isQuoted = rest.first == UInt8(ascii: "'")
        if isQuoted { rest = rest.dropFirst() }
        var index = rest.startIndex
        while index < rest.endIndex {
            if isQuoted ? rest[index] == UInt8(ascii: "'") : isSpace(rest[index]) { break }
            if rest[index] == UInt8(ascii: "\\"), rest.index(after: index) < rest.endIndex {
                index = rest.index(after: index)
            }
            index = rest.index(after: index)
        }
        let value = Self.text(rest[..<index])
        rest = rest[index...]
        guard !isQuoted || rest.popFirst() != nil else { throw Self.invalid("a quote in it does not end") }
        return value
    }

    /// Whether it looks like a keyword, as libpq's do.
    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (97...122).contains($0) || $0 == UInt8(ascii: "_") }
    }

    private static func text(_ bytes: Bytes) -> String { String(Substring(bytes)) }
}

import Shell

/// User and password inside a URL.
package struct URLCredentials {
    package var user: String
    /// As it stands in the URL, percent-encoded; nil when there is none.
    package var rawPassword: String?
    /// The URL without them.
    package var strippedURL: String

    /// Nil when the URL has none.
    package init?(url: String) {
        guard let scheme = url.firstRange(of: "://") else { return nil }
        let rest = url[scheme.upperBound...]
        var authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        // "user:pass/word@host": a password that should have been percent-encoded. What stands behind the colon is no port.
        if !authority.contains("@"), let colon = authority.firstIndex(of: ":"),
            authority[colon...].dropFirst().contains(where: { !$0.isNumber }), let at = rest.lastIndex(of: "@")
        {
            authority = rest[...at]
        }
        guard let at = authority.lastIndex(of: "@") else { return nil }
        let parts = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        user = Self.decoded(String(parts[0]))
        rawPassword = parts.count == 2 && !parts[1].isEmpty ? String(parts[1]) : nil
        strippedURL = String(url[..<scheme.upperBound]) + rest[rest.index(after: at)...]
    }

    /// Whether the path may be the rest of a password, or the credentials a host and its port: nobody can tell.
    package static func isAmbiguous(_ url: String) -> Bool {
        guard let scheme = url.firstRange(of: "://") else { return false }
        let rest = url[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let colon = authority.firstIndex(of: ":"), rest[authority.endIndex...].contains("@") else { return false }
        guard let at = authority.lastIndex(of: "@") else {
            return authority[colon...].dropFirst().allSatisfy(\.isNumber)
        }
        // A host with a domain is one, whatever the path holds.
        return !authority[at...].contains(".")
    }

    /// A URL that is not used, as an error quotes it: where a password may stand in it, nothing of it.
    package static func shown(_ url: String) -> String {
        url.contains { "@?".contains($0) } ? Secrets.replacement : url
    }

    /// Resolves percent encoding; what is no such encoding stays.
    package static func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let code = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(code)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

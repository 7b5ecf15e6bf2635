package import Git
import Glibc
import Shell

/// How commits are got and checked: what holds for every remote.
public struct GitSettings: Sendable, Equatable {
    /// User for the remote's https origin; nil for the one in its URL.
    package var user: String?
    package var token: String?
    /// Wins over `token`; read again before every check.
    package var tokenFile: String?
    /// Credentials by host; read again before every check.
    package var credentialsFile: String?
    package var ssh: SSHAccess
    package var authorityFile: String?
    /// How many commits of the history are fetched; 0 for all.
    package var depth: Int
    /// Whether the repositories inside the commit's are fetched and checked out, too.
    package var hasSubmodules: Bool
    /// Whether large files are fetched where `git lfs` is there.
    package var hasLFS: Bool
    /// Nil: every commit is deployed.
    package var signatures: CommitSignatures?
}

/// A remote as set, with the credentials of its URL.
public struct RemoteSettings: Sendable, Equatable {
    /// Without user and password.
    package var remote: Remote
    package var user: String?
    package var password: String?

    /// Takes credentials out of the URL, so that they are in no argument and no file.
    ///
    /// - Parameter branch: nil, or `HEAD`, for the remote's default branch.
    package init(url: String, branch: String?, names: Remote.Names = Remote.Names(), _ absolute: (String) -> String) {
        var plain = url
        let isHTTP = url.lowercased().hasPrefix("http://") || url.lowercased().hasPrefix("https://")
        if isHTTP, let credentials = URLCredentials(url: url) {
            plain = credentials.strippedURL
            user = credentials.user.isEmpty ? nil : credentials.user
            password = credentials.rawPassword.map(URLCredentials.decoded)
        }
        if plain.contains("://"), !isHTTP { plain = Remote(url: plain, ref: nil).address }
        // A relative path means the agent's folder, not the one in which git runs.
        let isPath = !plain.contains("://") && !(plain.prefix { $0 != "/" }.contains(":"))
        remote = Remote(
            url: isPath ? absolute(plain) : plain, ref: branch == Self.defaultBranch ? nil : branch, names: names)
    }

    /// What a remote calls its default branch.
    package static let defaultBranch = "HEAD"

    /// What is wrong with a URL, in words that hold no part of a password; nil when git may take it.
    package static func problem(of url: String) -> String? {
        if url.hasPrefix("-") { return "is no URL and no path" }
        let known = ["https", "http", "ssh", "git", "git+ssh", "ssh+git", "file"]
        let first = url.prefix { $0.isLetter || $0 == "+" }
        let (scheme, rest) = (first.lowercased(), url[first.endIndex...])
        guard rest.hasPrefix("://") else {
            if url.contains("://") { return "is no URL and no path" }
            // Else git takes it for a path, or for a host that is called like that.
            let isBroken =
                ["https", "http", "file"].contains(scheme) && rest.hasPrefix(":/")
                || rest.hasPrefix("//") && rest.contains("@")
            return isBroken ? "lacks the :// of a URL" : nil
        }
        guard known.contains(scheme) else { return "begins with \(scheme)://; use https, ssh, git or file, or a path" }
        guard scheme.hasPrefix("http"), URLCredentials.isAmbiguous(url) else { return nil }
        return "has an @ behind the host: percent-encode @ as %40 and / as %2F in user, password and path"
    }

    /// User and password of the URL, for its origin; nil where it has none.
    package var credential: GitCredential? {
        guard let origin = remote.httpOrigin, user != nil || password != nil else { return nil }
        return GitCredential(user: user ?? GitSettings.userOfTokens, password: password ?? "", origin: origin)
    }
}

extension GitSettings {
    package var content: CommitContent.Options {
        CommitContent.Options(depth: depth, hasSubmodules: hasSubmodules, hasLFS: hasLFS)
    }

    /// What git hosts take as the user of a token.
    package static let userOfTokens = "x-access-token"

    /// Credentials for every origin that there are some for, the first one of an origin counts.
    ///
    /// - Parameters:
    ///   - remote: the one that is asked, whose URL may have some.
    ///   - app: the one whose origin the token is for; nil when there is none.
    /// - Throws: `GitError` `unreachable` when a file cannot be read: it may just be replaced.
    package func credentials(for remote: RemoteSettings, app: RemoteSettings?) throws -> [GitCredential] {
        // What stands in a hook's own URL is meant for it, whatever host it is on.
        var credentials = remote == app ? [] : [remote.credential].compactMap { $0 }
        // A token is never sent in the clear.
        if let app, app.remote.isEncrypted, let origin = app.remote.httpOrigin, let token = try currentToken() {
            credentials.append(
                GitCredential(user: user ?? app.user ?? Self.userOfTokens, password: token, origin: origin))
        }
        if var credential = app?.credential {
            if let user { credential.user = user }
            credentials.append(credential)
        }
        if let credentialsFile {
            do {
                credentials += try CredentialsFile.read(credentialsFile)
            } catch {
                throw GitError(
                    .unreachable, operation: "read the credentials",
                    explanation: "\(Setting.credentialsFile.name) \(credentialsFile) \(error.description)")
            }
        }
        return credentials
    }

    /// The token where the app's remote is http without encryption.
    package func withheldToken(from app: RemoteSettings?) -> WithheldToken? {
        guard let app, !app.remote.isEncrypted, let origin = app.remote.httpOrigin, token != nil || tokenFile != nil
        else { return nil }
        return WithheldToken(setting: (tokenFile == nil ? Setting.token : .tokenFile).name, origin: origin)
    }

    private func currentToken() throws -> String? {
        guard let tokenFile else { return token }
        if let token = Settings.readTokenFile(tokenFile) { return token }
        throw GitError(
            .unreachable, operation: "read the token",
            explanation: "\(Setting.tokenFile.name) \(tokenFile) cannot be read or is empty")
    }
}

/// Credentials by host, a URL `https://user:password@host` a line: the form of git-credential-store(1).
package enum CredentialsFile {
    package struct Problem: Error, CustomStringConvertible {
        /// Holds nothing of the file.
        package let description: String
    }

    package static func read(_ path: String) throws(Problem) -> [GitCredential] {
        guard let bytes = TextFile.read(path, limit: 1 << 20) else { throw Problem(description: "cannot be read") }
        var result: [GitCredential] = []
        let lines = String(decoding: bytes, as: UTF8.self).split(
            omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (index, line) in lines.enumerated() {
            let line = String(line).trimmingSpace
            if line.isEmpty || line.hasPrefix("#") { continue }
            guard let credentials = URLCredentials(url: line), let password = credentials.rawPassword,
                let origin = Remote(url: credentials.strippedURL, ref: nil).httpOrigin
            else { throw Problem(description: "line \(index + 1) is no URL with user and password") }
            result.append(
                GitCredential(user: credentials.user, password: URLCredentials.decoded(password), origin: origin))
        }
        return result
    }
}

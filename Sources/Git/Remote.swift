/// A remote repository and what is followed there.
public struct Remote: Sendable, Equatable {
    /// Any URL or path that git takes.
    public var url: String
    /// Branch, tag, full reference name or full commit id; nil for the remote's default branch.
    public var ref: String?
    /// What both are set by, for messages.
    public var names: Names

    public struct Names: Sendable, Equatable {
        public var url: String
        public var ref: String

        public init(url: String = "GITHUB_REPO_URL", ref: String = "GITHUB_BRANCH") {
            self.url = url
            self.ref = ref
        }
    }

    public init(url: String, ref: String?, names: Names = Names()) {
        self.url = url
        self.ref = ref
        self.names = names
    }

    /// The URL without user and password, for messages.
    public var displayURL: String { without(user: true) }

    /// The URL without credentials, for git: the user of one for ssh is a part of the address.
    public var address: String { without(user: !isSSH) }

    private func without(user isLeftOut: Bool) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        let rest = url[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" }
        guard let at = authority.lastIndex(of: "@") else { return url }
        let user = isLeftOut ? "" : authority[..<at].prefix { $0 != ":" } + "@"
        return String(url[..<scheme.upperBound]) + user + rest[rest.index(after: at)...]
    }

    /// `https://host:port` of an http or https URL; nil for every other kind.
    public var httpOrigin: String? {
        guard let scheme = ["https://", "http://"].first(where: { displayURL.lowercased().hasPrefix($0) }) else {
            return nil
        }
        var authority = displayURL.dropFirst(scheme.count).prefix { $0 != "/" }.lowercased()
        for port in [scheme == "https://" ? ":443" : ":80"] where authority.hasSuffix(port) {
            authority.removeLast(port.count)
        }
        return scheme + authority
    }

    /// Whether what is sent to it is encrypted by https.
    public var isEncrypted: Bool { url.lowercased().hasPrefix("https://") }

    /// Whether it is reached by ssh: `ssh://…`, or `user@host:path`.
    var isSSH: Bool {
        if let scheme = url.firstRange(of: "://") { return url[..<scheme.lowerBound].lowercased().hasSuffix("ssh") }
        return url.prefix { $0 != "/" }.contains(":")
    }

    /// Whether it is a path or a `file://` URL.
    var isOnThisMachine: Bool { url.hasPrefix("/") || url.lowercased().hasPrefix("file://") }

    /// Name of the branch or tag that is set, as `RemoteTip.name` has it; nil for a commit id, and where none is set.
    public var refName: String? { followedCommit == nil ? ref.map(RemoteTip.shortName) : nil }

    /// Whether a commit id is followed, which never moves.
    public var followedCommit: String? {
        guard let ref, ref.utf8.count == 40, ref.allSatisfy({ $0.isHexDigit && $0.isASCII }) else { return nil }
        return ref.lowercased()
    }
}

/// Where the followed ref points now.
public struct RemoteTip: Sendable, Equatable {
    /// Full id of the commit; an annotated tag is peeled.
    public var commit: String
    /// Full name of the reference on the remote; nil when a commit id is followed.
    public var reference: String?

    public init(commit: String, reference: String?) {
        self.commit = commit
        self.reference = reference
    }

    /// Branch or tag name without its prefix.
    public var name: String? { reference.map(Self.shortName) }

    static func shortName(_ reference: String) -> String {
        for prefix in ["refs/heads/", "refs/tags/"] where reference.hasPrefix(prefix) {
            return String(reference.dropFirst(prefix.count))
        }
        return reference
    }
}

extension GitProgram {
    /// Asks the remote for the one ref that it follows; nothing is fetched.
    ///
    /// A branch wins over a tag of the same name; an annotated tag is peeled.
    /// - Parameter folder: a repository of the agent's own, so that no other's configuration applies.
    /// - Throws: `GitError` of one of the codes of remotes.
    public func tip(of remote: Remote, from folder: String) async throws -> RemoteTip {
        if let commit = remote.followedCommit { return RemoteTip(commit: commit, reference: nil) }
        let operation = "ask \(remote.displayURL) for \(remote.ref ?? "its default branch")"
        var arguments = ["ls-remote"]
        var names: [String] = []
        if let ref = remote.ref {
            names = (ref.hasPrefix("refs/") ? [ref] : []) + ["refs/heads/\(ref)", "refs/tags/\(ref)"]
            arguments += ["--", remote.url] + names.flatMap { $0.hasPrefix("refs/heads/") ? [$0] : [$0, "\($0)^{}"] }
        } else {
            names = ["HEAD"]
            arguments += ["--symref", "--", remote.url, "HEAD"]
        }
        let result = try await ask(arguments, of: remote, in: folder, operation: operation)
        guard result.exitCode == 0 else { throw result.remoteError(remote, operation) }
        var ids: [Substring: Substring] = [:]
        var defaultBranch: String?
        for line in String(decoding: result.output, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: "\t")
            guard fields.count == 2 else { continue }
            if fields[0].hasPrefix("ref: ") {
                defaultBranch = String(fields[0].dropFirst(5))
            } else {
                ids[fields[1]] = fields[0]
            }
        }
        for name in names {
            // Only exact names: ls-remote also lists refs that merely end in the pattern.
            guard let id = ids["\(name)^{}"] ?? ids[name[...]] else { continue }
            guard !UnsupportedRepository.isID(id) else {
                throw GitError(
                    .unsupported, operation: operation, explanation: "the remote \(UnsupportedRepository.sha256)")
            }
            return RemoteTip(commit: String(id), reference: name == "HEAD" ? defaultBranch : name)
        }
        guard let ref = remote.ref else {
            // The first push makes it better.
            throw GitError(
                .noCommit, operation: operation,
                explanation: "the remote has no default branch; is it empty? Push a commit, or set \(remote.names.ref)")
        }
        guard !UnsupportedRepository.isID(ref) else {
            throw GitError(
                .unsupported, operation: operation,
                explanation:
                    "\(remote.names.ref) is an id of a repository that \(UnsupportedRepository.sha256)")
        }
        throw GitError(
            .missingRef, operation: operation,
            explanation:
                "the remote has no branch or tag \"\(ref)\"; set \(remote.names.ref) to one that exists, or push it")
    }

    /// Runs a command that asks the remote. One that lies on this machine and belongs to another user is trusted: git's
    /// check is meant against running that repository's own configuration, which serving it does not.
    func ask(
        _ arguments: [String], of remote: Remote, in folder: String, operation: String
    ) async throws -> Result {
        let result = try await run(arguments, in: folder, operation: operation, network: true)
        guard result.exitCode != 0, remote.isOnThisMachine, result.message.contains("dubious ownership") else {
            return result
        }
        let trusting = [arguments[0], "--upload-pack=git -c safe.directory=* upload-pack"] + arguments.dropFirst()
        return try await run(trusting, in: folder, operation: operation, network: true)
    }
}

extension GitProgram.Result {
    /// Why the remote could not be used, and what may help where waiting does not.
    func remoteError(_ remote: Remote, _ operation: String) -> GitError {
        let code = RemoteFailure.code(of: message, isOnThisMachine: remote.isOnThisMachine)
        var error = error(code, operation)
        let advice =
            code == .denied && ["CONNECT tunnel", " 407"].contains(where: message.contains)
            ? "check user and password in the proxy's URL (https_proxy, http_proxy, all_proxy)"
            : code.adviceOnToken(remote, withheld) ?? code.advice(of: remote, message)
        if let advice {
            error = GitError(code, operation: operation, explanation: "\(message); \(advice)")
            error.leavesLocks = exitCode == Self.killed
            error.retryAfter = retryAfter
        }
        return error
    }
}

extension GitError.Code {
    /// A repository that wants credentials is not found without them, too.
    fileprivate func adviceOnToken(_ remote: Remote, _ withheld: WithheldToken?) -> String? {
        guard let withheld, withheld.origin == remote.httpOrigin, [.denied, .missingRepository].contains(self) else {
            return nil
        }
        return
            "\(withheld.setting) is set and was not sent, since http:// is not encrypted: use https:// in \(remote.names.url)"
    }

    fileprivate func advice(of remote: Remote, _ message: String) -> String? {
        switch self {
        case .denied where ["error in libcrypto", "invalid format"].contains(where: message.contains):
            "AGENT_SSH_KEY_FILE is no private key as ssh reads it: is its last line ended, and are there no carriage returns?"
        case .denied where remote.isSSH: "check AGENT_SSH_KEY_FILE, and that the remote knows the key"
        case .denied: "check GITHUB_TOKEN or GITHUB_TOKEN_FILE, GITHUB_USERNAME and AGENT_CREDENTIALS_FILE"
        case .untrusted where remote.isSSH:
            "check the host's key, and enter it in AGENT_SSH_KNOWN_HOSTS_FILE (ssh-keyscan shows it)"
        case .untrusted where message.contains("subject name") || message.contains("does not match target host name"):
            "the certificate is another host's: check \(remote.names.url)"
        case .untrusted: "check the server's certificate, and name its authority in AGENT_CA_FILE"
        case .gitMissing: "install ssh (Debian: openssh-client)"
        case .unsupported: "the remote \(UnsupportedRepository.sha256)"
        case .missingRepository: "check \(remote.names.url), and that the credentials may read it"
        default: nil
        }
    }
}

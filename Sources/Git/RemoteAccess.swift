import Glibc

/// User and password for one origin (`https://host:port`); given to git by its environment, never by argument or file.
public struct GitCredential: Sendable, Equatable {
    public var user: String
    public var password: String
    public var origin: String

    public init(user: String, password: String, origin: String) {
        self.user = user
        self.password = password
        self.origin = origin
    }

    /// What of it nobody must read. A token is also given as the user, with a password that only says that it is one.
    package var secrets: [String] { password == "x-oauth-basic" ? [user] : [password] }
}

/// Which key ssh shows, and whom it believes.
public struct SSHAccess: Sendable, Equatable {
    /// Path of a private key; nil for those that ssh finds by itself.
    public var keyFile: String?
    /// Path of a file of known hosts; nil for those of the user and the machine.
    public var knownHostsFile: String?
    /// Whether a host must be known.
    public var checksHostKeys: Bool

    public init(keyFile: String?, knownHostsFile: String?, checksHostKeys: Bool) {
        self.keyFile = keyFile
        self.knownHostsFile = knownHostsFile
        self.checksHostKeys = checksHostKeys
    }

    /// The command for `GIT_SSH_COMMAND`, which a shell reads; nil where ssh is left as it is.
    ///
    /// The rest of the user's own configuration (a proxy, say) counts all the same.
    var command: String? {
        guard keyFile != nil || knownHostsFile != nil || !checksHostKeys else { return nil }
        var options = ["BatchMode=yes", "UpdateHostKeys=no"]
        if let keyFile {
            options += ["IdentitiesOnly=yes", "IdentityAgent=none", "IdentityFile=\(Self.quoted(keyFile))"]
        }
        if !checksHostKeys {
            options += ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null"]
            // Otherwise every call says that it has made a host known.
            options += ["LogLevel=ERROR"]
        } else {
            options += ["StrictHostKeyChecking=yes"]
            if let knownHostsFile {
                options += ["UserKnownHostsFile=\(Self.quoted(knownHostsFile))", "GlobalKnownHostsFile=/dev/null"]
            }
        }
        return (["ssh"] + options.map { "-o '\($0.replacing("'", with: "'\\''"))'" }).joined(separator: " ")
    }

    /// As ssh_config(5) reads a path: with quotes, and `%` as itself.
    private static func quoted(_ path: String) -> String {
        "\"\(path.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("%", with: "%%"))\""
    }
}

/// A token that an origin is not shown.
public struct WithheldToken: Sendable, Equatable {
    /// What sets it, for messages.
    public var setting: String
    public var origin: String

    public init(setting: String, origin: String) {
        self.setting = setting
        self.origin = origin
    }
}

/// What git needs to reach its remotes.
public struct RemoteAccess: Sendable, Equatable {
    /// The first one of an origin counts.
    public var credentials: [GitCredential]
    public var ssh: SSHAccess
    /// Path of certificates (PEM) that are trusted beside the machine's own; nil for those alone.
    public var authorityFile: String?
    /// A token that is not sent, since what is sent there is not encrypted.
    public var withheld: WithheldToken?

    public init(
        credentials: [GitCredential] = [],
        ssh: SSHAccess = SSHAccess(keyFile: nil, knownHostsFile: nil, checksHostKeys: true),
        authorityFile: String? = nil, withheld: WithheldToken? = nil
    ) {
        self.credentials = credentials
        self.ssh = ssh
        self.authorityFile = authorityFile
        self.withheld = withheld
    }

    /// Names of variables, each with `=`, that would win over what is set here.
    var overruled: [String] {
        (ssh.command == nil ? [] : ["GIT_SSH_COMMAND=", "GIT_SSH=", "GIT_SSH_VARIANT="])
            + (authorityFile == nil ? [] : ["GIT_SSL_CAINFO=", "GIT_SSL_CAPATH="])
    }

    /// What git is told by its environment: variables, and configuration by `GIT_CONFIG_KEY_n`.
    var given: (variables: [(String, String)], configuration: [(String, String)]) {
        var variables: [(String, String)] = []
        var configuration: [(String, String)] = []
        var origins: Set<String> = []
        for credential in credentials where origins.insert(credential.origin).inserted {
            let (user, password) = ("DEPLOY_GIT_USER_\(origins.count)", "DEPLOY_GIT_PASSWORD_\(origins.count)")
            // The empty one takes away what the user has configured: nothing else is asked for this origin.
            configuration += [
                ("credential.\(credential.origin).helper", ""),
                (
                    "credential.\(credential.origin).helper",
                    "!f() { \(Self.helper(origins.count, user, password)); }; f"
                ),
            ]
            variables += [(user, credential.user), (password, credential.password)]
        }
        if let command = ssh.command { variables += [("GIT_SSH_COMMAND", command), ("GIT_SSH_VARIANT", "ssh")] }
        if let authorityFile {
            configuration.append(("http.sslCAInfo", authorityFile))
            // Instead of the machine's own it would count otherwise, and submodules may lie with others.
            if isFolder(Self.machineAuthorities) { configuration.append(("http.sslCAPath", Self.machineAuthorities)) }
        }
        return (variables, configuration)
    }

    /// Variable with the beginning of a path: what was refused is noted there and not shown again. git-lfs asks for
    /// credentials again and again, and shows a server the same ones without end.
    static let refusals = "DEPLOY_GIT_REFUSED"

    private static func helper(_ number: Int, _ user: String, _ password: String) -> String {
        let note = "\"$\(refusals).\(number)\""
        return """
            case "$1" in \
            get) test -n "$\(refusals)" && test -e \(note) || \
            printf 'username=%s\\npassword=%s\\n' "$\(user)" "$\(password)";; \
            erase) test -z "$\(refusals)" || : > \(note);; esac
            """
    }

    private static let machineAuthorities = "/etc/ssl/certs"
}

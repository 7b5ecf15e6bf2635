import Git
import Glibc
import Shell
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

/// Where credentials and secrets of the settings go, and where they are hidden.
@Suite struct CredentialTests {
    private func resolve(_ environment: [String: String], spec: String? = nil) throws -> Settings {
        try Settings.resolve(
            options: [:],
            environment: ProcessEnvironment(
                ["AGENT_STATE_DIR": "/s", "PATH": "/usr/bin:/bin"].merging(environment) { $1 }),
            appspec: try spec.map { try AppSpec(text: $0, file: "appspec.yaml") }, currentFolder: "/srv")
    }

    @Test(
        "user and password leave an http URL, however they are written",
        arguments: [
            ("http://me:pw@host/x", "http://host/x", "me", "pw"), ("https://me:p:w@host", "https://host", "me", "p:w"),
            ("https://:pw@host/x", "https://host/x", nil, "pw"), ("https://host/x@y", "https://host/x@y", nil, nil),
            ("https://me:a@b@host/x", "https://host/x", "me", "a@b"),
            ("https://me:pass/word@host/x", "https://host/x", "me", "pass/word"),
        ] as [(String, String, String?, String?)])
    func stripped(url: String, expected: String, user: String?, password: String?) throws {
        let remote = try #require(try resolve(["GITHUB_REPO_URL": url]).remote)
        #expect(remote.remote.url == expected && remote.user == user && remote.password == password)
    }

    @Test(
        "a URL's password is hidden in the form in which it stands there, and decoded",
        arguments: ["pa%40ss-word", "pa@ss-word"])
    func passwordForms(shown: String) throws {
        let settings = try resolve(["GITHUB_REPO_URL": "https://me:pa%40ss-word@host/x"])
        #expect(settings.secrets.mask("password \(shown) here") == "password *** here")
        #expect(settings.listing.allSatisfy { $0.value?.contains("ss-word") != true })
    }

    @Test(
        "paths count from the current folder, everything with a host is kept",
        arguments: [
            ("../x", "/srv/../x"), ("./a:b", "/srv/./a:b"), ("file:///srv/x", "file:///srv/x"), ("host:x", "host:x"),
        ])
    func otherURLs(url: String, expected: String) throws {
        #expect(try resolve(["GITHUB_REPO_URL": url]).remote?.remote.url == expected)
    }

    @Test(
        "the token wins over a URL's password, and is given to no other kind of remote",
        arguments: [
            ("https://me:pw@host/x", "t0ken"), ("HTTPS://host/x", "t0ken"), ("ssh://host/x", nil), ("/srv/x", nil),
        ] as [(String, String?)])
    func token(url: String, expected: String?) throws {
        let settings = try resolve(["GITHUB_REPO_URL": url, "GITHUB_TOKEN": " t0ken\n"])
        #expect(try credentials(settings).first?.password == expected)
    }

    @Test(
        "a token that is not sent, since the remote is not encrypted, is known with its setting",
        arguments: [
            ("http://host/x", WithheldToken(setting: "GITHUB_TOKEN", origin: "http://host")), ("https://host/x", nil),
            ("HTTP://me:pw@Host:80/x", WithheldToken(setting: "GITHUB_TOKEN", origin: "http://host")),
            ("ssh://host/x", nil), ("/srv/x", nil),
        ] as [(String, WithheldToken?)])
    func withheldToken(url: String, expected: WithheldToken?) throws {
        let settings = try resolve(["GITHUB_REPO_URL": url, "GITHUB_TOKEN": "t0ken"])
        #expect(settings.git.withheldToken(from: settings.remote) == expected)
        #expect(try credentials(settings).allSatisfy { $0.password != "t0ken" } || url.hasPrefix("https"))
        let none = try resolve(["GITHUB_REPO_URL": url])
        #expect(none.git.withheldToken(from: none.remote) == nil)
        let folder = try TemporaryFolder()
        let ofFile = try resolve(["GITHUB_REPO_URL": url, "GITHUB_TOKEN_FILE": try folder.write("token", "t0ken")])
        #expect(
            ofFile.git.withheldToken(from: ofFile.remote)?.setting == expected.map { _ in "GITHUB_TOKEN_FILE" })
    }

    @Test(
        "HEAD as a branch is the remote's default branch, of a hook's repository too", arguments: ["HEAD", " HEAD\n"])
    func head(branch: String) throws {
        let settings = try resolve([
            "GITHUB_REPO_URL": "https://host/x", "GITHUB_BRANCH": branch, "POST_DEPLOY_COMMAND": "true",
            "POST_DEPLOY_REPO_URL": "https://host/y", "POST_DEPLOY_REPO_BRANCH": branch,
        ])
        #expect(settings.remote?.remote.ref == nil && settings.followedRef == nil)
        #expect(settings.followedName(found: "main") == "main")
        #expect(
            settings.hook(.postDeploy)?.remote?.remote
                == Remote(
                    url: "https://host/y", ref: nil,
                    names: Remote.Names(url: "POST_DEPLOY_REPO_URL", ref: "POST_DEPLOY_REPO_BRANCH")))
        let local = try resolve(["GITHUB_BRANCH": branch])
        #expect(!local.warnings.contains { $0.contains("GITHUB_BRANCH") })
        #expect(try resolve(["GITHUB_BRANCH": "main"]).warnings.contains { $0.contains("GITHUB_BRANCH") })
    }

    @Test(
        "a secret of so few characters that it stands everywhere is worth a word",
        arguments: [
            ("1", "REPLICAS has fewer than 4 characters"), ("${N}", "REPLICAS has fewer than 4 characters"),
            ("x-${N}", "a secret has fewer than 4 characters"), ("long", nil),
        ] as [(String, String?)])
    func shortSecret(value: String, expected: String?) throws {
        let spec = "envs:\n- {key: REPLICAS, value: \"\(value)\", type: SECRET}\n"
        let remarks = try resolve(["N": "12"], spec: spec).remarks
        #expect(remarks.count == (expected == nil ? 0 : 1) && remarks.first?.hasPrefix(expected ?? "") != false)
    }

    /// What the app's remote is shown, or another one beside it.
    private func credentials(_ settings: Settings, for url: String? = nil) throws -> [GitCredential] {
        let remote = try url.map { RemoteSettings(url: $0, branch: nil) { $0 } } ?? #require(settings.remote)
        return try settings.git.credentials(for: remote, app: settings.remote)
    }

    @Test(
        "the user of a token is GITHUB_USERNAME, else the URL's, else what git hosts take for one",
        arguments: [
            (["GITHUB_USERNAME": "ada"], "https://bob@host/x", "ada"), ([:], "https://bob@host/x", "bob"),
            ([:], "https://host/x", "x-access-token"),
        ])
    func user(settings: [String: String], url: String, expected: String) throws {
        let settings = try resolve(["GITHUB_REPO_URL": url, "GITHUB_TOKEN": "t0ken"].merging(settings) { $1 })
        #expect(
            try credentials(settings).first
                == GitCredential(user: expected, password: "t0ken", origin: "https://host"))
    }

    @Test(
        "each host is shown its own credentials: the token is for the app's, a hook's URL has its own, a file names others"
    )
    func hosts() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write(
            "credentials",
            "# hosts\n\nhttps://ci:p%40ss@Other.example:443/path\r\n  http://me:plain@insecure:8080\n")
        let settings = try resolve([
            "GITHUB_REPO_URL": "https://host/x", "GITHUB_TOKEN": "t0ken", "AGENT_CREDENTIALS_FILE": file,
        ])
        #expect(
            try credentials(settings, for: "https://ops:h00k@hooks/x") == [
                GitCredential(user: "ops", password: "h00k", origin: "https://hooks"),
                GitCredential(user: "x-access-token", password: "t0ken", origin: "https://host"),
                GitCredential(user: "ci", password: "p@ss", origin: "https://other.example"),
                GitCredential(user: "me", password: "plain", origin: "http://insecure:8080"),
            ])
        // On the app's own host its own come first.
        #expect(try credentials(settings, for: "https://ops:h00k@host/x").first?.user == "ops")
        #expect(settings.secrets.mask("p@ss and plain") == "*** and ***")
        // Rotated: the file is read again.
        try folder.write("credentials", "https://ci:new@other.example\n")
        #expect(try credentials(settings).map(\.password) == ["t0ken", "new"])
    }

    @Test(
        "a credentials file that is none is refused without a word of it",
        arguments: [
            ("https://ci@other\n", "line 1 is no URL with user and password"),
            ("\nhttps://ci:hunter2@other\nhunter2\n", "line 3 is no URL with user and password"),
            ("ssh://ci:hunter2@other\n", "line 1 is no"),
        ])
    func credentialsFile(content: String, expected: String) throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("credentials", content)
        let error = #expect(throws: SettingsError.self) { try resolve(["AGENT_CREDENTIALS_FILE": file]) }
        let text = error?.description ?? ""
        #expect(text.contains("AGENT_CREDENTIALS_FILE") && text.contains(expected) && !text.contains("hunter2"))
    }

    @Test(
        "files for ssh and TLS are looked at when the settings are read",
        arguments: [
            ("AGENT_SSH_KEY_FILE", "no key", "holds no private key"), ("AGENT_SSH_KEY_FILE", nil, "cannot be read"),
            ("AGENT_SSH_KEY_FILE", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "may be read by others"),
            ("AGENT_SSH_KEY_FILE", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "has a passphrase"),
            ("AGENT_SSH_KNOWN_HOSTS_FILE", "<html>\n", "holds no host's key"),
            ("AGENT_CA_FILE", "no certificate", "holds no certificate in PEM form"),
            ("AGENT_CA_FILE", nil, "cannot be read"), ("AGENT_SSH_KNOWN_HOSTS_FILE", nil, "cannot be read"),
            ("AGENT_CREDENTIALS_FILE", nil, "cannot be read"),
        ] as [(String, String?, String)])
    func files(name: String, content: String?, expected: String) throws {
        let folder = try TemporaryFolder()
        if let content { chmod(try folder.write("file", content), 0o644) }
        let error = #expect(throws: SettingsError.self) { try resolve([name: folder.path + "/file"]) }
        #expect(error?.problems.map(\.name) == [name] && error?.description.contains(expected) == true)
    }

    @Test("known hosts may come later, and are not looked at where host keys are not checked")
    func knownHosts() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("hosts", "# host:22 SSH-2.0-OpenSSH_9.2\n")
        #expect(try resolve(["AGENT_SSH_KNOWN_HOSTS_FILE": file]).git.ssh.knownHostsFile == file)
        try folder.write("hosts", "ssh-ed25519 AAAA somebody\n")
        #expect(throws: SettingsError.self) { try resolve(["AGENT_SSH_KNOWN_HOSTS_FILE": file]) }
        let unchecked = ["AGENT_SSH_KNOWN_HOSTS_FILE": file, "AGENT_SSH_HOST_KEY_CHECK": "false"]
        #expect(try resolve(unchecked).git.ssh.checksHostKeys == false)
    }

    @Test("what checks commits is not taken from a commit")
    func signatures() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("signers", "me ssh-ed25519 AAAA\n")
        let own = ["AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": file]
        let spec = "envs:\n- {key: AGENT_VERIFY_COMMIT, value: 'off'}\n"
        #expect(try resolve(own, spec: spec).git.signatures == CommitSignatures(kind: .ssh, signersFile: file))
        let alone = try resolve([:], spec: spec)
        #expect(alone.git.signatures == nil)
        #expect(alone.warnings.contains { $0.contains("AGENT_VERIFY_COMMIT in appspec.yaml does not count") })
        let error = #expect(throws: SettingsError.self) { try resolve(["AGENT_VERIFY_COMMIT": "gpg"]) }
        #expect(error?.description.contains("needs AGENT_ALLOWED_SIGNERS_FILE") == true)
        #expect(try resolve(["AGENT_VERIFY_COMMIT": "off"]).git.signatures == nil)
        for (name, value) in [("AGENT_VERIFY_COMMIT", "pgp"), ("AGENT_SSH_HOST_KEY_CHECK", "maybe")] {
            #expect(throws: SettingsError.self) { try resolve([name: value]) }
        }
        let hosts = try resolve([:], spec: "envs:\n- {key: AGENT_SSH_HOST_KEY_CHECK, value: 'false'}\n")
        #expect(hosts.git.ssh.checksHostKeys)
        #expect(hosts.warnings.contains { $0.contains("AGENT_SSH_HOST_KEY_CHECK in appspec.yaml does not count") })
    }

    @Test("a token is hidden wherever it comes from: a variable, a file, a URL's user")
    func tokens() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("token", "  token-in-file\n")
        let settings = try resolve([
            "GITHUB_REPO_URL": "https://token-as-user-of-the-url@host/x", "GITHUB_TOKEN_FILE": file,
        ])
        let both = try resolve(["GITHUB_REPO_URL": "https://host/x", "GITHUB_TOKEN": "token-in-variable"])
        #expect(settings.secrets.mask("token-in-file token-as-user-of-the-url") == "*** ***")
        #expect(both.secrets.mask("token-in-variable") == "***")
        let oauth = try resolve(["GITHUB_REPO_URL": "https://oauth-token-as-user:x-oauth-basic@host/x"])
        #expect(oauth.secrets.mask("oauth-token-as-user") == "***")
        let lines = try folder.write(
            "credentials", "https://oauth-token-in-file:x-oauth-basic@a\nhttps://deploy-user:s3cr3t@b\n")
        let listed = try resolve(["GITHUB_REPO_URL": "https://host/x", "AGENT_CREDENTIALS_FILE": lines])
        #expect(listed.secrets.mask("oauth-token-in-file deploy-user s3cr3t") == "*** deploy-user ***")
        let named = try resolve(["GITHUB_REPO_URL": "https://deploy-user:s3cr3t@host/x"])
        #expect(named.secrets.mask("deploy-user s3cr3t") == "deploy-user ***")
        #expect(settings.listing.allSatisfy { $0.value?.contains("token-as") != true })
        #expect(settings.git.tokenFile == file)
    }

    @Test("a token file without a token is refused", arguments: ["", " \n"])
    func emptyTokenFile(content: String) throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("token", content)
        let error = #expect(throws: SettingsError.self) { try resolve(["GITHUB_TOKEN_FILE": file]) }
        #expect(error?.problems.map(\.name) == ["GITHUB_TOKEN_FILE"])
    }

    @Test(
        "a SECRET entry's value is hidden wherever it really comes from",
        arguments: [
            ("{key: A, value: '${B}', type: SECRET}", ["B": "s3cr3t-value"]),
            ("{key: A, value: 'EV[1:x:y]', type: SECRET}", ["A": "s3cr3t-value"]),
            ("{key: A, type: SECRET}", ["A": "s3cr3t-value"]),
            ("{key: A, value: s3cr3t-value, type: SECRET}", ["A": "another"]),
        ] as [(String, [String: String])])
    func secretEntries(entry: String, environment: [String: String]) throws {
        let settings = try resolve(environment, spec: "envs:\n- \(entry)\n")
        #expect(settings.secrets.mask("x s3cr3t-value x") == "x *** x")
    }

    @Test(
        "what a SECRET entry refers to is hidden also where the entry itself is not exported",
        arguments: [
            "{key: A, value: '${PW}', type: SECRET, scope: BUILD_TIME}",
            "{key: A, value: 'x${PW}${NONE}', type: SECRET}",
        ])
    func references(entry: String) throws {
        let spec = try AppSpec(text: "envs:\n- \(entry)\n", file: "appspec.yaml")
        let settings = try Settings.resolve(
            options: [:], environment: ProcessEnvironment(["PW": "held-by-the-platform"]), appspec: spec)
        #expect(settings.secrets.mask("echo held-by-the-platform") == "echo ***")
    }

    @Test("a service's SECRET entries are hidden, also where another service's hold", arguments: ["web", "worker"])
    func secretServices(service: String) throws {
        let spec = """
            envs: [{key: A, value: s3cr3t-top, type: SECRET}]
            services:
            - {name: web, envs: [{key: A, value: s3cr3t-web, type: SECRET}]}
            - {name: worker, envs: [{key: A, value: plain}]}
            """
        let settings = try resolve(["AGENT_SERVICE": service], spec: spec)
        #expect(settings.secrets.mask("s3cr3t-top s3cr3t-web") == "*** ***")
    }

    @Test(
        "no error shows a secret, whichever setting it was given to",
        arguments: [
            (["AGENT_LEDGER_URL": "mysql://me:hunter2@host/x"], nil),
            (["PRE_DEPLOY_REPO_URL": "-https://me:hunter2@host/x"], nil),
            (["AGENT_KEEP": "hunter2"], "envs:\n- {key: AGENT_KEEP, value: 3, type: SECRET}\n"),
            (
                [
                    "GITHUB_TOKEN": "hunter2-hunter2-hunter2",
                    "PRE_DEPLOY_REPO_URL": "-https://hunter2-hunter2-hunter2@host/x",
                ], nil
            ),
            (["GITHUB_TOKEN": "hunter2-hunter2-hunter2", "PRE_DEPLOY_MODE": "hunter2-hunter2-hunter2"], nil),
            (
                [:],
                "envs:\n- {key: PASSWORD, value: hunter2, type: SECRET}\n- {key: AGENT_LEDGER_URL, value: hunter2}\n"
            ),
        ] as [([String: String], String?)])
    func errors(environment: [String: String], spec: String?) throws {
        let error = try #require(#expect(throws: SettingsError.self) { try resolve(environment, spec: spec) })
        #expect(!error.description.contains("hunter2") && error.description.contains("***"))
    }
}

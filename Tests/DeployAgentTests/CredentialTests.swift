import Git
import Shell
import TestSupport
import Testing

@testable import DeployAgent

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
        #expect(try resolve(["GITHUB_REPO_URL": url, "GITHUB_TOKEN": " t0ken\n"]).remote?.password == expected)
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
        let named = try resolve(["GITHUB_REPO_URL": "https://deploy-user:s3cr3t@host/x"])
        #expect(named.secrets.mask("deploy-user s3cr3t") == "deploy-user ***")
        #expect(settings.listing.allSatisfy { $0.value?.contains("token-as") != true })
        #expect(settings.remote?.tokenFile == file)
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
            (["PRE_DEPLOY_REPO_URL": "https://me:hunter2@host/x"], nil),
            (["AGENT_KEEP": "hunter2"], "envs:\n- {key: AGENT_KEEP, value: 3, type: SECRET}\n"),
            (
                [
                    "GITHUB_TOKEN": "hunter2-hunter2-hunter2",
                    "PRE_DEPLOY_REPO_URL": "https://hunter2-hunter2-hunter2@host/x",
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

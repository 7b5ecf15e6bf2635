import Git
import Log
import Shell
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

@Suite struct SettingsTests {
    private func resolve(
        _ environment: [String: String] = [:], options: [String: String] = [:], spec: String? = nil,
        folder: String = "/"
    ) throws -> Settings {
        try Settings.resolve(
            options: options,
            environment: ProcessEnvironment(
                ["AGENT_STATE_DIR": "/s", "PATH": "/usr/bin:/bin"].merging(environment) { $1 }),
            appspec: try spec.map { try AppSpec(text: $0, file: "appspec.yaml") }, currentFolder: folder)
    }

    @Test("defaults are those of the contract")
    func defaults() throws {
        let settings = try resolve(["PRE_DEPLOY_COMMAND": "x", "POST_DEPLOY_COMMAND": "y"], folder: "/srv/shop")
        #expect(settings.interval == .seconds(30) && settings.gitTimeout == .seconds(120) && settings.keep == 1000)
        #expect(
            settings.killGrace == .seconds(10) && settings.isGated && settings.remote == nil && settings.app == "shop")
        #expect(settings.publish.keptReleases == 3 && settings.publish.mode == .inPlace && settings.git.depth == 1)
        #expect(settings.git.hasSubmodules && settings.git.hasLFS && settings.git.signatures == nil)
        #expect(
            settings.ledger == .sqlite(path: "/s/ledger.sqlite") && settings.logFormat == .text
                && settings.logLevel == .info)
        let pre = try #require(settings.hook(.preDeploy))
        #expect(pre.mode == .strict && pre.retries == .unlimited && pre.timeout == .seconds(300) && pre.folder == ".")
        let post = try #require(settings.hook(.postDeploy))
        #expect(post.mode == .lenient && post.retries == .atMost(0))
    }

    @Test("options win over the environment, that over the app spec; an empty value is not set")
    func precedence() throws {
        let spec =
            "name: n\nenvs:\n- {key: AGENT_APP, value: spec}\n- {key: AGENT_HOST, value: spec}\n- {key: X, value: spec}"
        let settings = try resolve(
            ["AGENT_APP": "env", "AGENT_HOST": "", "WORKSPACE_PATH": "/env"], options: ["WORKSPACE_PATH": "/option"],
            spec: spec)
        #expect(settings.workspace == "/option" && settings.app == "env" && settings.host == "spec")
        #expect(settings.exports == ["X": "spec"])
        let source = Dictionary(uniqueKeysWithValues: settings.listing.map { ($0.name, "\($0.source)") })
        #expect(source["WORKSPACE_PATH"] == "option --workspace" && source["AGENT_APP"] == "environment")
        #expect(source["AGENT_HOST"] == "appspec.yaml line 4" && source["AGENT_KEEP"] == "default")
        #expect(try resolve(["X": "real"], spec: spec).exports.isEmpty)
        #expect(try resolve(spec: "name: n").app == "n")
    }

    @Test(
        "a wrong value is named with variable, value, what is accepted, and where it came from",
        arguments: [
            ("PRE_DEPLOY_TIMEOUT", "abc"), ("POST_DEPLOY_TIMEOUT", "0"), ("GITHUB_SYNC_INTERVAL", "-1"),
            ("AGENT_GIT_TIMEOUT", "1x"),
            ("AGENT_KILL_GRACE", "0"), ("PRE_DEPLOY_MODE", "maybe"), ("POST_DEPLOY_RETRIES", "-3"),
            ("PRE_DEPLOY_GATE", "perhaps"),
            ("PRE_DEPLOY_FOLDER", "../x"), ("POST_DEPLOY_FOLDER", "/etc"), ("GITHUB_REPO_FOLDER", "a/../../b"),
            ("AGENT_KEEP", "0"), ("AGENT_LOG_FORMAT", "xml"), ("AGENT_LOG_LEVEL", "loud"),
            ("AGENT_LEDGER_URL", "mongodb://x"),
            ("AGENT_LEDGER_URL", "sqlite:"), ("AGENT_SHELL", "/no/such/shell"), ("GITHUB_TOKEN_FILE", "/no/such/file"),
            ("PRE_DEPLOY_REPO_URL", "-https://h/r"), ("POST_DEPLOY_REPO_BRANCH", "-x"),
            ("PRE_DEPLOY_PATHS", ":(attr:x)a"),
            ("AGENT_GIT_DEPTH", "-1"), ("AGENT_SUBMODULES", "some"), ("AGENT_GIT_LFS", "on"),
            ("AGENT_LEDGER_URL", "postgresql://[h/d"),
            ("PRE_DEPLOY_SCOPE", "fleet"), ("POST_DEPLOY_SCOPE", "some"),
        ])
    func wrong(name: String, value: String) {
        for error in [
            #expect(throws: SettingsError.self) { try resolve([name: value]) },
            #expect(throws: SettingsError.self) { try resolve(spec: "envs:\n- {key: \(name), value: \"\(value)\"}") },
        ] {
            let text = error?.description ?? ""
            #expect(text.contains(name) && text.contains(value) && text.contains("it takes"))
            #expect(text.contains("environment") || text.contains("appspec.yaml line 2"))
        }
    }

    @Test("everything that is wrong is said at once")
    func allProblems() {
        let error = #expect(throws: SettingsError.self) {
            try resolve(["PRE_DEPLOY_TIMEOUT": "x", "POST_DEPLOY_MODE": "y", "AGENT_KEEP": "z"])
        }
        #expect(error?.problems.map(\.name) == ["PRE_DEPLOY_TIMEOUT", "POST_DEPLOY_MODE", "AGENT_KEEP"])
        let both = #expect(throws: SettingsError.self) {
            try resolve(
                ["AGENT_SERVICE": "no", "AGENT_KEEP": "z", "PRE_DEPLOY_TIMOUT": "1"], spec: "services: [{name: web}]")
        }
        #expect(both?.problems.map(\.name) == ["AGENT_SERVICE", "AGENT_KEEP"])
        #expect(both?.nearMisses == ["PRE_DEPLOY_TIMOUT is no setting: did you mean PRE_DEPLOY_TIMEOUT?"])
    }

    @Test("white space alone is as good as nothing, and none is kept around a name")
    func blank() throws {
        let blank = try resolve(
            [
                "GITHUB_BRANCH": " ", "AGENT_APP": "\t", "AGENT_HOST": " ", "GITHUB_TOKEN": " ", "AGENT_SERVICE": " ",
                "GITHUB_REPO_URL": "https://h/r", "PRE_DEPLOY_COMMAND": " ",
            ], spec: "services: [{name: web}]", folder: "/srv/shop")
        #expect(blank.app == "shop" && !blank.host.isBlank && blank.hooks.isEmpty)
        #expect(blank.remote?.remote.ref == nil && blank.remote?.password == nil)
        #expect(try resolve(["AGENT_APP": " a b "]).app == "a b")
    }

    @Test("no error and no listing shows a secret")
    func masked() throws {
        let spec = "envs:\n- {key: PRE_DEPLOY_TIMEOUT, value: hunter2, type: SECRET}"
        let error = #expect(throws: SettingsError.self) { try resolve(spec: spec) }
        #expect(error?.description.contains("hunter2") == false)
        let ledger = #expect(throws: SettingsError.self) {
            try resolve(["AGENT_LEDGER_URL": "postgresql://u:hunter2@[h/d"])
        }
        #expect(ledger?.description.contains("hunter2") == false)
        let settings = try resolve(["GITHUB_TOKEN": "hunter2", "GITHUB_REPO_URL": "https://u:hunter3@h/r"])
        #expect(!settings.listing.contains { $0.value?.contains("hunter") == true })
        #expect(settings.secrets.mask("hunter2 hunter3") == "*** ***")
    }

    @Test(
        "hook folders are relative to GITHUB_REPO_FOLDER unless they start with it",
        arguments: [
            ("app", "hooks", "app/hooks"), ("app", "app/hooks", "app/hooks"), ("app", "app", "app"),
            ("app", nil, "app"),
            ("app", "apple", "app/apple"), (nil, "./a//b/", "a/b"), (nil, nil, "."),
        ] as [(String?, String?, String)])
    func folders(base: String?, folder: String?, expected: String) throws {
        let settings = try resolve(
            ["PRE_DEPLOY_COMMAND": "x", "GITHUB_REPO_FOLDER": base ?? "", "PRE_DEPLOY_FOLDER": folder ?? ""])
        #expect(settings.hook(.preDeploy)?.folder == expected)
    }

    @Test(
        "credentials leave the URL, which git gets as an argument",
        arguments: [
            ("https://u:p%40ss@h:1/r.git", "https://h:1/r.git", "u", "p@ss"),
            ("https://tokentokentoken@h/r", "https://h/r", "tokentokentoken", nil),
            ("ssh://git@h/r", "ssh://git@h/r", nil, nil), ("git@h:r.git", "git@h:r.git", nil, nil),
            ("/srv/r.git", "/srv/r.git", nil, nil),
            ("r.git", "/here/r.git", nil, nil),
        ] as [(String, String, String?, String?)])
    func credentials(url: String, plain: String, user: String?, password: String?) throws {
        let remote = try #require(try resolve(["GITHUB_REPO_URL": url], folder: "/here").remote)
        #expect(remote.remote.url == plain && remote.user == user && remote.password == password)
    }

    @Test("a token is for https remotes only")
    func token() throws {
        let environment = ["GITHUB_TOKEN": "t0ken", "GITHUB_REPO_URL": "https://h/r"]
        for (url, expected) in [("https://h/r", ["t0ken"]), ("http://h/r", [])] {
            let settings = try resolve(environment.merging(["GITHUB_REPO_URL": url]) { $1 })
            let remote = try #require(settings.remote)
            #expect(try settings.git.credentials(for: remote, app: remote).map(\.password) == expected)
        }
    }

    @Test(
        "a near miss is told, a setting or another program's variable is not",
        arguments: [
            ("PRE_DEPLOY_TIMOUT", "PRE_DEPLOY_TIMEOUT"), ("pre_deploy_command", "PRE_DEPLOY_COMMAND"),
            ("GITHUB_REPO_ULR", "GITHUB_REPO_URL"),
            ("AGENT_KEPP", "AGENT_KEEP"), ("GITHUB_ACTIONS", nil), ("PRE_DEPLOY_COMMAND", nil), ("PATH", nil),
            ("AGENT_NAME_X", nil),
        ] as [(String, String?)])
    func nearMiss(name: String, expected: String?) throws {
        #expect(NearMiss.setting(for: name) == expected)
        let warned = try resolve([name: "1m"].merging(["PRE_DEPLOY_COMMAND": "true"]) { $1 }).warnings
        #expect(warned.contains { $0.contains("did you mean") } == (expected != nil))
    }
}

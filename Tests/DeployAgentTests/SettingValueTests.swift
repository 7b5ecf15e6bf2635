import Foundation
import Log
import Shell
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

/// How single settings are read.
@Suite struct SettingValueTests {
    private func resolve(
        _ environment: [String: String] = [:], options: [String: String] = [:], spec: String? = nil,
        folder: String = "/srv"
    ) throws -> Settings {
        try Settings.resolve(
            options: options,
            environment: ProcessEnvironment(["PATH": "/usr/bin:/bin", "HOME": "/home/me"].merging(environment) { $1 }),
            appspec: try spec.map { try AppSpec(text: $0, file: "appspec.yaml") }, currentFolder: folder)
    }

    @Test("a hook has what is set for it, its command as it stands", arguments: [Hook.preDeploy, .postDeploy])
    func hook(_ hook: Hook) throws {
        let name = hook.rawValue
        let settings = try resolve([
            "\(name)_COMMAND": " bash run.sh ", "\(name)_FOLDER": "./hooks//pre/", "\(name)_TIMEOUT": "1m30s",
            "\(name)_MODE": "Lenient", "\(name)_RETRIES": "4",
        ])
        let set = try #require(settings.hook(hook))
        #expect(settings.hooks.count == 1 && set.command == " bash run.sh " && set.folder == "hooks/pre")
        #expect(set.timeout == .seconds(90) && set.mode == .lenient && set.retries == .atMost(4))
    }

    @Test("an empty value in the app spec is not set")
    func emptyInSpec() throws {
        let settings = try resolve(
            spec: "envs:\n- key: AGENT_LOG_LEVEL\n  value: ''\n- key: PRE_DEPLOY_COMMAND\n  value: ''\n")
        #expect(settings.logLevel == .info && settings.hooks.isEmpty)
    }

    @Test(
        "words are read in any case and with white space around them",
        arguments: [
            ("PRE_DEPLOY_GATE", " FALSE ", "gate"), ("PRE_DEPLOY_GATE", "no", "gate"), ("PRE_DEPLOY_GATE", "0", "gate"),
            ("AGENT_LOG_FORMAT", "JSON", "format"), ("AGENT_LOG_LEVEL", "warn", "level"),
            ("GITHUB_SYNC_INTERVAL", " 5m\n", "interval"),
        ])
    func words(name: String, value: String, what: String) throws {
        let settings = try resolve([name: value])
        #expect(settings.isGated == (what != "gate"))
        #expect(settings.logFormat == (what == "format" ? .json : .text))
        #expect(settings.logLevel == (what == "level" ? .warning : .info))
        #expect(settings.interval == (what == "interval" ? .seconds(300) : .seconds(30)))
    }

    @Test(
        "the workspace's path is absolute and without links, as far as it exists",
        arguments: [
            (".", "/real"), ("sub/../other", "/real/other"), ("link", "/real/target"), ("link/new", "/real/target/new"),
        ])
    func workspace(path: String, expected: String) throws {
        let folder = try TemporaryFolder()
        try folder.write("real/target/x", "")
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/real/link", withDestinationPath: "target")
        let settings = try resolve(["WORKSPACE_PATH": path], folder: folder.path + "/real")
        #expect(settings.workspace == folder.path + expected)
    }

    @Test(
        "the ledger's URL names a file, absolute or from the current folder",
        arguments: [
            ("sqlite:/data/l.sqlite", "/data/l.sqlite"), ("sqlite:///data/l.sqlite", "/data/l.sqlite"),
            ("SQLITE:/data/l", "/data/l"), ("sqlite:sub/l.sqlite", "/srv/sub/l.sqlite"),
        ])
    func ledger(url: String, expected: String) throws {
        #expect(try resolve(["AGENT_LEDGER_URL": url]).ledger == .sqlite(path: expected))
    }

    @Test("a relative state directory counts from the current folder, and the ledger is in it")
    func stateDirectory() throws {
        let settings = try resolve(options: ["AGENT_STATE_DIR": "state"])
        #expect(settings.stateDirectory == "/srv/state" && settings.ledger == .sqlite(path: "/srv/state/ledger.sqlite"))
    }

    @Test("the shell is a full path, whether it is set by name or by path", arguments: ["sh", "/bin/sh"])
    func shell(name: String) throws {
        let shell = try resolve(["AGENT_SHELL": name]).shell
        #expect(shell.hasPrefix("/") && shell.hasSuffix("bin/sh"))
    }

    @Test("without bash the shell is sh")
    func noBash() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("sh", "")
        try #require(chmod(path, 0o755) == 0)
        #expect(try resolve(["PATH": folder.path]).shell == path)
    }

    @Test("the agent's own settings in the spec are not exported to hooks, nor is what holds at build time")
    func exports() throws {
        let spec = """
            envs:
            - {key: APP_KEY, value: a}
            - {key: PRE_DEPLOY_COMMAND, value: make}
            - {key: GITHUB_TOKEN, value: t0ken-value, type: SECRET}
            - {key: BUILD, value: b, scope: BUILD_TIME}
            """
        #expect(try resolve(spec: spec).exports == ["APP_KEY": "a"])
    }

    @Test(
        "settings that have no effect are told",
        arguments: [
            (["GITHUB_BRANCH": "main", "PRE_DEPLOY_COMMAND": "x"], "GITHUB_BRANCH"),
            (["POST_DEPLOY_COMMAND": "x", "POST_DEPLOY_RETRIES": "3"], "POST_DEPLOY_RETRIES"),
            ([:], "PRE_DEPLOY_COMMAND"),
        ] as [([String: String], String)])
    func advice(variables: [String: String], expected: String) throws {
        let warnings = try resolve(variables).warnings
        #expect(warnings.count == 1 && warnings.first?.contains(expected) == true)
    }

    @Test(
        "a value that git or SQLite would take for something else is refused",
        arguments: [
            ("GITHUB_BRANCH", "-x"), ("GITHUB_BRANCH", "a b"), ("GITHUB_REPO_URL", "--upload-pack=x"),
            ("GITHUB_REPO_URL", "ftp://host/x"), ("GITHUB_USERNAME", "a:b"),
            ("AGENT_LEDGER_URL", "sqlite::memory:"), ("AGENT_LEDGER_URL", "/path"),
        ])
    func refused(name: String, value: String) throws {
        let error = #expect(throws: SettingsError.self) { try resolve([name: value]) }
        #expect(error?.problems.map(\.name) == [name] && error?.description.contains("\"\(value)\"") == true)
    }

    @Test("a wrong option is named as such")
    func fromOption() throws {
        let error = #expect(throws: SettingsError.self) { try resolve(options: ["AGENT_LOG_LEVEL": "loud"]) }
        #expect(error?.description.contains("option --log-level") == true)
    }

    @Test(
        "a setting of the agent, and a name that resembles none, is no near miss",
        arguments: Setting.all.map(\.name) + [
            "", "PRE_DEPLOY", "DEPLOY_COMMIT", "DATABASE_URL", "GITHUB_SHA", "POST_DEPLOY_RETRY",
        ])
    func noNearMiss(name: String) {
        #expect(NearMiss.setting(for: name) == nil)
    }
}

import Git
import Glibc
public import Log
public import Shell

/// All settings of the agent for one commit, each read, checked and traced to where it came from.
public struct Settings: Sendable {
    /// Canonical path.
    public var workspace: String
    /// Nil: only the workspace's own HEAD is watched.
    public var remote: RemoteSettings?
    public var interval: Duration
    /// The hooks that are set.
    public var hooks: [HookSettings]
    /// Whether PRE_DEPLOY runs in a staged checkout before the workspace moves.
    public var isGated: Bool
    public var publish: PublishSettings
    public var gitTimeout: Duration
    public var git: GitSettings
    public var killGrace: Duration
    public var shell: String
    public var stateDirectory: String
    public var ledger: LedgerAddress
    /// How long `run-once` waits for a ledger that cannot be reached.
    public var ledgerTimeout: Duration
    public var app: String
    public var host: String
    public var logFormat: LogFormat
    public var logLevel: LogLevel
    /// What `agent exec` does around the app.
    public var entrypoint: EntrypointSettings
    public var http: HTTPSettings
    /// Nil: nobody is told.
    public var notifications: NotificationSettings?
    /// Deployments kept in record and logs.
    public var keep: Int
    /// The file with the tasks as set; nil for `deploy.yaml` or `deploy.yml` in the checkout.
    package var deployFile: Sourced<String>?
    /// The table that says which tasks are done; nil for the ledger's own.
    package var tasksTable: String?
    /// Variables of the app spec that the hooks get.
    public var exports: [String: String]
    /// Everything that must not be written anywhere.
    public var secrets: Secrets
    public var warnings: [String]
    /// What is worth a word once, however often it holds.
    public var remarks: [String]
    /// Every setting with its value and source, secrets masked, for `agent check`.
    public var listing: [ListedSetting]

    /// What is followed, as `GITHUB_BRANCH` has it; nil for the remote's default branch.
    public var followedRef: String? { remote?.remote.ref }

    /// Name of the branch or tag that is followed: the one that is set, else the remote's default branch.
    ///
    /// - Parameter found: what the default branch was the last time that somebody asked.
    package func followedName(found: String?) -> String? { followedRef == nil ? found : remote?.remote.refName }

    /// - Parameter withTasks: whether the commit has one-time tasks: then a deployment without hooks runs something, too.
    public func warnings(withTasks: Bool) -> [String] {
        withTasks ? warnings.filter { $0 != Self.nothingToRun } : warnings
    }

    /// The remote that the agent publishes from.
    /// - Throws: `SettingsError` when none is followed.
    package func remoteToPublishFrom() throws -> RemoteSettings {
        if let remote { return remote }
        throw SettingsError(
            Setting.repoURL.name,
            "is not set: a checkout that the agent does not publish to is moved by git",
            source: .fallback)
    }

    /// Where a setting's value came from.
    package func source(of setting: Setting) -> SettingSource {
        listing.first { $0.name == setting.name }?.source ?? .fallback
    }

    /// The longest that a check with a deployment may take while all is well.
    package var longestCheck: Duration {
        let hooks = hooks.reduce(Duration.zero) { $0 + $1.timeout + killGrace * 2 }
        return hooks + publish.wait + gitTimeout * 20 + entrypoint.waitTimeout + entrypoint.stopGrace + .seconds(60)
    }

    /// Names of settings that an agent reads once, at its start, and that have another value here.
    package func changedSinceStart(_ start: Settings) -> [String] {
        let names: [(Setting, Bool)] = [
            (.health, http.isEnabled != start.http.isEnabled), (.healthPort, http.port != start.http.port),
            (.httpHost, http.host != start.http.host), (.logFormat, logFormat != start.logFormat),
            (.logLevel, logLevel != start.logLevel), (.apiToken, http.apiToken?.text != start.http.apiToken?.text),
            (.webhookSecret, http.webhookSecret?.text != start.http.webhookSecret?.text),
        ]
        return names.filter(\.1).map(\.0.name)
    }

    public func hook(_ hook: Hook) -> HookSettings? {
        hooks.first { $0.hook == hook }
    }
}

/// One setting as `agent check` shows it.
public struct ListedSetting: Sendable {
    public var name: String
    /// Nil when it is not set; then `fallback` says what holds.
    public var value: String?
    public var fallback: String
    public var source: SettingSource
}

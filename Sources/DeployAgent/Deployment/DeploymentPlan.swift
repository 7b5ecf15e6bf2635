import Git
import Ledger
import Settings

/// What is to be deployed, decided and checked; nothing of it has happened yet.
struct DeploymentPlan: Sendable {
    var scope: Scope
    var commit: CommitInfo
    var ref: String?
    var trigger: Trigger
    var attempt: Int
    var series: Int64?
    var previousCommit: String?
    var settings: Settings
    /// Deployed although the commit is settled, since a person said so.
    var isForced: Bool
    /// This process among all agents.
    var instance: String
    /// Whether it is tried once, whatever comes: a way back that was asked for. What comes then is a person's decision.
    var isTriedOnce = false
    /// Whether PRE_DEPLOY was wanted of a rollback, too.
    var withPre = false
    /// The commit that is rolled back from; nil for all but rollbacks.
    var held: String?
    /// The commit's tasks: nil where it has no such file, or what is wrong with it.
    var tasks: Result<DeployFile?, SettingsError>
    /// What it changes, and what need not run for it.
    var changed: ChangedSince
    /// What of the commit is missing from the workspace, or will be.
    var warnings: [String] = []
    /// Nil when the workspace itself is watched: then there is nothing to publish.
    var source: Source?

    /// Where the commit comes from.
    struct Source: Sendable {
        var store: CommitStore
        var remoteURL: String
        var git: GitProgram
        /// The repositories inside the commit's.
        var submodules: [Submodule] = []
        /// Fetches the commit anew when the store turns out to be damaged; returns whether it was.
        var repair: @Sendable () async throws -> Bool
    }
}

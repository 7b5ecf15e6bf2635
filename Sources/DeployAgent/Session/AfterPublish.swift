import Execution
import Git
import Ledger
import Logging
import Settings

/// What another capability's work for a commit is done for.
struct WorkOccasion: Sendable {
    var scope: Scope
    var commit: String
    var ref: String?
    var previousCommit: String?
    var trigger: Trigger
    /// The deployment that its runs belong to; nil for none.
    var deployment: Int64?
    var settings: Settings
    /// This process among all agents.
    var instance: String
    /// A person asked for it: whatever somebody else runs is waited for.
    var isByHand = false
    /// Also what has been tried as often as its retries allow: a person named it.
    var isForced = false
}

/// What it is done with.
struct WorkTools: Sendable {
    var ledger: any LedgerStore
    var runner: Runner
    var writer: LedgerWriter
    var logger: Logger
    /// Is called before what takes long, with how long that may be.
    var waiting: @Sendable (Duration) -> Void
}

/// The work of another capability that a commit's `deploy.yaml` asks for: done in the commit's deployment once it is published,
/// or at a check beside it.
protocol AfterPublishWork: Sendable {
    /// What came of the last check's look; nil when it did not look, or there is nothing.
    var counts: TaskCounts? { get }
    /// When there is reason for the next look; nil when there is none.
    var retryAt: Timestamp? { get }

    /// A check begins.
    mutating func begin()

    /// A deployment did its step.
    mutating func deployed(_ deployment: Deployment, retryAt: Timestamp?)

    /// Whether there is reason to look although the commit is deployed.
    func isDue(_ trigger: Trigger) -> Bool

    /// Reads the commit's file; what is wrong with it where it cannot be used.
    /// - Throws: `GitError` when the repository cannot be read.
    mutating func read(
        _ origin: SettingsOrigin, _ settings: Settings, _ commit: String, in repository: Repository, workspace: String
    ) async throws -> Result<DeployFile?, SettingsError>

    func step(_ occasion: WorkOccasion, _ tools: WorkTools) -> any AfterPublishStep

    /// Looks up what is due.
    mutating func look(_ step: inout any AfterPublishStep, _ file: Result<DeployFile?, SettingsError>) async

    /// Does what is due.
    ///
    /// - Parameter appIsToCome: whether the app starts after this check: then what waits for it comes with the next one.
    mutating func run(_ step: inout any AfterPublishStep, appIsToCome: Bool) async

    /// Deletes old runs: of a deployment those that say nothing, of the scope those that belong to none.
    ///
    /// - Returns: the ids of the deleted runs.
    /// - Throws: `LedgerError`.
    func prune(deployment: Int64?, _ scope: Scope, keep: Int, _ ledger: any LedgerStore) async throws -> [Int64]
}

/// That work for one commit. What fails in it is a warning, and stops neither the deployment nor the app.
protocol AfterPublishStep: Sendable {
    /// Whether something is due at all.
    var isDue: Bool { get }
    /// When what was passed over, or could not be asked for, is to be looked at again.
    var retryAt: Timestamp? { get }
    /// For the deployment's warnings.
    var warnings: Int { get }
    /// Nil when there is no file.
    var counts: TaskCounts? { get }

    /// Asks the record what is due.
    ///
    /// - Parameter file: nil when the commit has none; what is wrong with one that cannot be used.
    mutating func begin(_ file: Result<DeployFile?, SettingsError>) async

    func isDue(_ when: OneTimeTask.When) -> Bool

    /// Does what is due at that place. An agent that is asked to stop begins nothing more.
    mutating func run(_ when: OneTimeTask.When) async

    /// Says what it came to.
    func announce()
}

extension Result where Success == DeployFile?, Failure == SettingsError {
    /// Whether there are tasks, or perhaps would be in a file that cannot be used.
    var areThere: Bool {
        switch self {
        case .success(let file): file?.tasks.isEmpty == false
        case .failure: true
        }
    }
}

import Git
import Ledger
import Settings

/// A deployment as the JSON of every command shows it; absent values are null, keys are always there.
public struct DeploymentView: Encodable, Sendable {
    let deployment: Deployment
    /// Left out of listings.
    let runs: [RunView]?
    let mask: @Sendable (String) -> String

    enum CodingKeys: String, CodingKey {
        case id, app, commit, subject, author, ref
        case previousCommit = "previous_commit"
        case heldCommit = "held_commit"
        case trigger, attempt, status, settled, warnings, tasks, host, workspace
        case startedAt = "started_at"
        case completedAt = "completed_at"
        case durationMS = "duration_ms"
        case retryAt = "retry_at"
        case errorMessage = "error_message"
        case runs
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(deployment.id, forKey: .id)
        try container.encode(deployment.scope.app, forKey: .app)
        try container.encode(deployment.commit, forKey: .commit)
        try container.encode(mask(deployment.subject), forKey: .subject)
        try container.encode(mask(deployment.author), forKey: .author)
        try container.encode(deployment.ref.map(mask), forKey: .ref)
        try container.encode(deployment.previousCommit, forKey: .previousCommit)
        try container.encode(deployment.cameToNothing ? nil : deployment.held, forKey: .heldCommit)
        try container.encode(deployment.trigger.rawValue, forKey: .trigger)
        try container.encode(deployment.attempt, forKey: .attempt)
        try container.encode(deployment.status.rawValue, forKey: .status)
        try container.encode(deployment.settled, forKey: .settled)
        try container.encode(deployment.warnings, forKey: .warnings)
        try container.encode(deployment.tasks.map { TaskCountsView(counts: $0, mask: mask) }, forKey: .tasks)
        try container.encode(deployment.scope.host, forKey: .host)
        try container.encode(deployment.scope.workspace, forKey: .workspace)
        try container.encode(deployment.startedAt.rfc3339, forKey: .startedAt)
        try container.encode(deployment.completedAt?.rfc3339, forKey: .completedAt)
        try container.encode(deployment.duration?.wholeMilliseconds, forKey: .durationMS)
        try container.encode(deployment.retryAt?.rfc3339, forKey: .retryAt)
        try container.encode(deployment.errorMessage.map(mask), forKey: .errorMessage)
        if let runs { try container.encode(runs, forKey: .runs) }
    }
}

/// A run as JSON shows it.
public struct RunView: Encodable, Sendable {
    let run: Run
    /// Nil where this host has none.
    let log: String?
    let outputTail: String
    let mask: @Sendable (String) -> String

    enum CodingKeys: String, CodingKey {
        case id, kind, name, hook, scope, fence
        case adoptedRun = "adopted_run"
        case command, folder, mode
        case timeoutMS = "timeout_ms"
        case attempt, status
        case exitCode = "exit_code"
        case signal
        case startedAt = "started_at"
        case completedAt = "completed_at"
        case durationMS = "duration_ms"
        case log
        case outputTail = "output_tail"
        case errorMessage = "error_message"
        case entryHash = "entry_hash"
        case hookCommit = "hook_commit"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(run.id, forKey: .id)
        try container.encode(run.kind.rawValue, forKey: .kind)
        try container.encode(run.name, forKey: .name)
        try container.encode(run.kind == .hook ? run.name : nil, forKey: .hook)
        try container.encode(run.scope.rawValue, forKey: .scope)
        try container.encode(run.fence, forKey: .fence)
        try container.encode(run.adopted, forKey: .adoptedRun)
        try container.encode(mask(run.command), forKey: .command)
        try container.encode(run.folder, forKey: .folder)
        try container.encode(run.mode, forKey: .mode)
        try container.encode(run.timeout.wholeMilliseconds, forKey: .timeoutMS)
        try container.encode(run.attempt, forKey: .attempt)
        try container.encode(run.status.rawValue, forKey: .status)
        try container.encode(run.exitCode, forKey: .exitCode)
        try container.encode(run.signal, forKey: .signal)
        try container.encode(run.startedAt.rfc3339, forKey: .startedAt)
        try container.encode(run.completedAt?.rfc3339, forKey: .completedAt)
        try container.encode(run.duration?.wholeMilliseconds, forKey: .durationMS)
        try container.encode(log, forKey: .log)
        try container.encode(mask(outputTail), forKey: .outputTail)
        try container.encode(run.errorMessage.map(mask), forKey: .errorMessage)
        try container.encode(run.digest, forKey: .entryHash)
        try container.encode(run.hookCommit, forKey: .hookCommit)
    }
}

/// What `run-once` and `rollback` print.
public struct OutcomeView: Encodable, Sendable {
    public let outcome: String
    public let deployment: DeploymentView?
    /// What came of the look at the tasks, with or without a deployment.
    let tasks: TaskCountsView?
    /// Why there is no deployment; nil where nothing is wrong.
    let errorMessage: String?
    let errorKind: ErrorKind?

    public init(
        outcome: String, deployment: DeploymentView?, tasks: TaskCountsView? = nil, errorMessage: String? = nil,
        errorKind: ErrorKind? = nil
    ) {
        self.outcome = outcome
        self.deployment = deployment
        self.tasks = tasks
        self.errorMessage = errorMessage
        self.errorKind = errorKind
    }

    /// Of what ended before there was an outcome.
    public init(error: any Error) {
        let (outcome, kind): (String, ErrorKind) =
            switch error {
            case is SettingsError: ("failed", .permanent)
            case let error as LedgerError: ("unreachable", error.isTransient ? .transient : .permanent)
            case let error as GitError: ("failed", error.code.isPermanent ? .permanent : .transient)
            default: ("failed", .transient)
            }
        self.init(outcome: outcome, deployment: nil, errorMessage: "\(error)", errorKind: kind)
    }

    enum CodingKeys: String, CodingKey {
        case outcome, deployment, tasks
        case errorMessage = "error_message"
        case errorKind = "error_kind"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(outcome, forKey: .outcome)
        try container.encode(deployment, forKey: .deployment)
        try container.encode(tasks, forKey: .tasks)
        try container.encode(errorMessage, forKey: .errorMessage)
        try container.encode(errorKind?.rawValue, forKey: .errorKind)
    }
}

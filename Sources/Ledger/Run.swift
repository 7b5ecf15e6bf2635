/// How far a run has come.
public enum RunStatus: String, Sendable, Codable, CaseIterable {
    case running, succeeded, failed
    case timedOut = "timed_out"
    case interrupted, deferred, skipped

    /// Whether it counts as one of the attempts that retries allow.
    package var isFailure: Bool { self == .failed || self == .timedOut }
}

/// What a run is of.
public enum RunKind: String, Sendable, Codable, CaseIterable {
    case hook, task

    /// SQL for the kinds whose parent is a deployment.
    package static let ofDeployments = "IN ('hook', 'task')"
}

/// Over how many machines a run counts.
public enum RunScope: String, Sendable, Codable, CaseIterable {
    /// Every host runs it.
    case host
    /// One host runs it for all of the app's.
    case fleet
}

/// What is known of a run before it starts.
public struct RunDraft: Sendable, Codable {
    public var kind: RunKind
    /// Which one of its kind: `PRE_DEPLOY`, `POST_DEPLOY`, a task's id.
    public var name: String
    /// The deployment that it belongs to; 0 when a person ran it where nothing had been deployed.
    public var parent: Int64
    /// Marks the run's processes in their environment; unique over all ledgers.
    public var marker: String
    /// The command as set, secrets masked.
    public var command: String
    /// Working directory relative to the checkout root; `.` is the root.
    public var folder: String
    public var mode: String
    public var timeout: Duration
    public var attempt: Int
    public var startedAt: Timestamp
    public var scope: RunScope
    /// Hash of a task's entry; nil for a hook.
    public var digest: String?
    /// The commit of the repository that the hook is from; nil where it is from the app's.
    public var hookCommit: String?

    public init(
        kind: RunKind, name: String, parent: Int64, marker: String, command: String, folder: String, mode: String,
        timeout: Duration, attempt: Int, startedAt: Timestamp, scope: RunScope = .host, digest: String? = nil,
        hookCommit: String? = nil
    ) {
        self.kind = kind
        self.name = name
        self.parent = parent
        self.marker = marker
        self.command = command
        self.folder = folder
        self.mode = mode
        self.timeout = timeout
        self.attempt = attempt
        self.startedAt = startedAt
        self.scope = scope
        self.digest = digest
        self.hookCommit = hookCommit
    }
}

/// How a run ended.
public struct RunResult: Sendable, Codable {
    public var status: RunStatus
    /// The command's exit code; nil when a signal ended it or it never started.
    public var exitCode: Int?
    /// The signal that ended it.
    public var signal: Int?
    public var completedAt: Timestamp
    /// The last 64 KiB of output, secrets masked, valid UTF-8 without NUL.
    public var outputTail: String
    public var errorMessage: String?

    public init(
        status: RunStatus, exitCode: Int? = nil, signal: Int? = nil, completedAt: Timestamp, outputTail: String = "",
        errorMessage: String? = nil
    ) {
        self.status = status
        self.exitCode = exitCode
        self.signal = signal
        self.completedAt = completedAt
        self.outputTail = outputTail
        self.errorMessage = errorMessage
    }
}

/// One run as recorded: one execution of one command.
public struct Run: Sendable, Identifiable {
    public var id: Int64
    public var kind: RunKind
    public var name: String
    public var parent: Int64
    public var marker: String
    public var command: String
    public var folder: String
    public var mode: String
    public var timeout: Duration
    public var attempt: Int
    public var status: RunStatus
    public var exitCode: Int?
    public var signal: Int?
    public var startedAt: Timestamp
    public var completedAt: Timestamp?
    public var outputTail: String
    public var errorMessage: String?
    public var scope: RunScope
    /// The number of the claim under which it ran; nil when it needed none.
    public var fence: Int64?
    /// The run on another host whose result this one took over; nil when it ran itself.
    public var adopted: Int64?
    /// Hash of a task's entry; nil for a hook.
    public var digest: String?
    /// The commit of the repository that the hook is from; nil where it is from the app's.
    public var hookCommit: String?

    public init(
        id: Int64, kind: RunKind, name: String, parent: Int64, marker: String, command: String, folder: String,
        mode: String, timeout: Duration, attempt: Int, status: RunStatus, exitCode: Int?, signal: Int?,
        startedAt: Timestamp, completedAt: Timestamp?, outputTail: String, errorMessage: String?,
        scope: RunScope = .host, fence: Int64? = nil, adopted: Int64? = nil, digest: String? = nil,
        hookCommit: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.name = name
        self.parent = parent
        self.marker = marker
        self.command = command
        self.folder = folder
        self.mode = mode
        self.timeout = timeout
        self.attempt = attempt
        self.status = status
        self.exitCode = exitCode
        self.signal = signal
        self.startedAt = startedAt
        self.completedAt = completedAt
        self.outputTail = outputTail
        self.errorMessage = errorMessage
        self.scope = scope
        self.fence = fence
        self.adopted = adopted
        self.digest = digest
        self.hookCommit = hookCommit
    }
}

extension RunResult {
    /// How a run ended that is on record; nil while it has not.
    public init?(of run: Run) {
        guard run.status != .running, let completedAt = run.completedAt else { return nil }
        self.init(
            status: run.status, exitCode: run.exitCode, signal: run.signal, completedAt: completedAt,
            outputTail: run.outputTail, errorMessage: run.errorMessage)
    }
}

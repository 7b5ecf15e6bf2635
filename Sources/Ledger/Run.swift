/// How far a run has come.
public enum RunStatus: String, Sendable, CaseIterable {
    case running, succeeded, failed
    case timedOut = "timed_out"
    case interrupted, deferred, skipped
}

/// What asked for a run. Today only a deployment does; tasks, job steps and checks become further kinds.
public enum RunKind: String, Sendable {
    case hook
}

/// What is known of a run before it starts.
public struct RunDraft: Sendable {
    public var kind: RunKind
    /// Which one of its kind: `PRE_DEPLOY`, `POST_DEPLOY`.
    public var name: String
    /// The deployment that it belongs to.
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

    public init(
        kind: RunKind, name: String, parent: Int64, marker: String, command: String, folder: String, mode: String,
        timeout: Duration, attempt: Int, startedAt: Timestamp
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
    }
}

/// How a run ended.
public struct RunResult: Sendable {
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

    public init(
        id: Int64, kind: RunKind, name: String, parent: Int64, marker: String, command: String, folder: String,
        mode: String, timeout: Duration, attempt: Int, status: RunStatus, exitCode: Int?, signal: Int?,
        startedAt: Timestamp, completedAt: Timestamp?, outputTail: String, errorMessage: String?
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
    }
}

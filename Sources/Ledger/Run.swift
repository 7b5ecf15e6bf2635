/// How far a run has come.
public enum RunStatus: String, Sendable, Codable, CaseIterable {
    case running, succeeded, failed
    case timedOut = "timed_out"
    case interrupted, deferred, skipped

    /// Whether it counts as one of the attempts that retries allow.
    package var isFailure: Bool { self == .failed || self == .timedOut }
}

/// What a run is of. A kind of a later agent is kept as it came.
public struct RunKind: RawRepresentable, Hashable, Sendable {
    public var rawValue: String

    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    public static let hook = RunKind(rawValue: "hook")
    public static let task = RunKind(rawValue: "task")
}

/// Over how many machines a run counts.
public enum RunScope: String, Sendable, Codable, CaseIterable {
    /// Every host runs it.
    case host
    /// One host runs it for all of the app's.
    case fleet
}

/// What is known of a run before it starts.
public struct RunDraft: Sendable {
    public var kind: RunKind
    /// Which one of its kind: `PRE_DEPLOY`, `POST_DEPLOY`, a task's id.
    public var name: String
    /// What it belongs to; nil for what a person ran where nothing had been deployed.
    public var parent: RunParent?
    /// For which app, and where, it runs.
    public var place: Scope
    /// The process that runs it, or a lane of it; nil where that was not noted.
    public var worker: String?
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
        kind: RunKind, name: String, parent: RunParent?, place: Scope, worker: String? = nil, marker: String,
        command: String, folder: String, mode: String, timeout: Duration, attempt: Int, startedAt: Timestamp,
        scope: RunScope = .host, digest: String? = nil, hookCommit: String? = nil
    ) {
        self.kind = kind
        self.name = name
        self.parent = parent
        self.place = place
        self.worker = worker
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

extension RunDraft {
    /// The deployment that it belongs to; nil where it belongs to nothing, or to something else.
    public var deployment: Int64? { parent?.kind == .deployment ? parent?.id : nil }
}

/// How a run ended, as every view of it shows.
public struct RunEnd: Sendable, Equatable {
    public var status: RunStatus
    /// The command's exit code; nil when a signal ended it or it never started.
    public var exitCode: Int?
    /// The signal that ended it.
    public var signal: Int?
    public var completedAt: Timestamp
    public var errorMessage: String?

    public init(
        status: RunStatus, exitCode: Int? = nil, signal: Int? = nil, completedAt: Timestamp, errorMessage: String? = nil
    ) {
        self.status = status
        self.exitCode = exitCode
        self.signal = signal
        self.completedAt = completedAt
        self.errorMessage = errorMessage
    }
}

/// How a run ended, with the end of what it printed, as it is written down. That text is read for one run at a time.
@dynamicMemberLookup
public struct RunResult: Sendable {
    public var end: RunEnd
    /// The last 64 KiB of output, secrets masked, valid UTF-8 without NUL.
    public var outputTail: String

    public init(_ end: RunEnd, outputTail: String = "") {
        self.end = end
        self.outputTail = outputTail
    }

    public init(
        status: RunStatus, exitCode: Int? = nil, signal: Int? = nil, completedAt: Timestamp, outputTail: String = "",
        errorMessage: String? = nil
    ) {
        self.init(
            RunEnd(
                status: status, exitCode: exitCode, signal: signal, completedAt: completedAt, errorMessage: errorMessage
            ), outputTail: outputTail)
    }

    public subscript<T>(dynamicMember path: WritableKeyPath<RunEnd, T>) -> T {
        get { end[keyPath: path] }
        set { end[keyPath: path] = newValue }
    }
}

/// One run as recorded: one execution of one command. What it printed is read by itself (`outputTail(run:)`).
@dynamicMemberLookup
public struct Run: Sendable, Identifiable {
    public var id: Int64
    public var draft: RunDraft
    /// Nil while it runs.
    public var end: RunEnd?
    /// The number of the claim under which it ran; nil when it needed none.
    public var fence: Int64?
    /// Whether it did not run itself, and took over the result of a run on another host.
    public var isAdopted: Bool
    /// That run; nil also where the record does not have it, or not yet.
    public var adopted: Int64?

    public init(
        id: Int64, draft: RunDraft, end: RunEnd? = nil, fence: Int64? = nil, isAdopted: Bool = false,
        adopted: Int64? = nil
    ) {
        self.id = id
        self.draft = draft
        self.end = end
        self.fence = fence
        self.isAdopted = isAdopted
        self.adopted = adopted
    }

    public subscript<T>(dynamicMember path: WritableKeyPath<RunDraft, T>) -> T {
        get { draft[keyPath: path] }
        set { draft[keyPath: path] = newValue }
    }

    public var status: RunStatus { end?.status ?? .running }
    public var exitCode: Int? { end?.exitCode }
    public var signal: Int? { end?.signal }
    public var completedAt: Timestamp? { end?.completedAt }
    public var errorMessage: String? { end?.errorMessage }
    /// Nil while it runs. By the wall clock, and never negative where that was set back meanwhile.
    public var duration: Duration? {
        end.map { .milliseconds(max(0, $0.completedAt.millisecondsSince(draft.startedAt))) }
    }
    /// The deployment that it belongs to; nil where it belongs to nothing, or to something else.
    public var deployment: Int64? { draft.deployment }
}

/// A record that says which one-time tasks are done.
///
/// That is in a table of its own, `deploy_tasks (id, completed_at, result)`, which another program may have made: an id with a
/// time of completion is done, whatever else is known of it. It knows ids alone: a task is one for all apps of the record.
public protocol TaskStore: Sendable {
    /// Which of these tasks are not done, or were done as something else or for another app. One question, however many they
    /// are.
    func toDo(_ tasks: [TaskEntry], app: String) async throws -> [TaskToDo]

    /// Every task that the record knows of, by id.
    func tasks() async throws -> [TaskRecord]

    /// Records what a person did about a task, and does it.
    ///
    /// - Returns: who runs the task at this moment; then nothing was done. Nil else.
    func record(_ action: TaskAction) async throws -> HeldBy?

    /// Tasks as they are moved to another record, in the order of their ids, after one of them; none at the end.
    func doneTasks(after id: String?, limit: Int) async throws -> [DoneTask]

    /// Adds tasks, all or nothing; one that is done here stays as it is.
    func insert(_ tasks: [DoneTask]) async throws

    /// What persons did, in the order in which they did it, after one of these; none at the end.
    func taskActions(after number: Int64, limit: Int) async throws -> [(number: Int64, action: TaskAction)]

    /// Adds what persons did elsewhere, where it is not there yet; it has no effect on the tasks.
    func insert(_ actions: [TaskAction]) async throws
}

/// A task as the app's file has it.
public struct TaskEntry: Sendable {
    public var id: String
    /// Hash of what it does.
    public var digest: String

    public init(id: String, digest: String) {
        self.id = id
        self.digest = digest
    }
}

extension [TaskEntry] {
    /// A JSON object of the ids with their hashes. Ids hold no control characters, which would need more.
    package var json: String {
        var json = "{"
        for entry in self {
            json += json.utf8.count > 1 ? ",\"" : "\""
            // Mostly there is nothing to replace, and to look for it takes long.
            let isPlain = !entry.id.utf8.contains { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }
            json +=
                isPlain ? entry.id : entry.id.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            json += "\":\""
            json += entry.digest
            json += "\""
        }
        return json + "}"
    }
}

/// A task that is not done, or was done as something else than it is now, or for another app.
public struct TaskToDo: Sendable, Equatable {
    public var id: String
    public var isDone: Bool
    /// For which other app it was done; nil when that is not so.
    public var otherApp: String?

    public init(id: String, isDone: Bool, otherApp: String? = nil) {
        self.id = id
        self.isDone = isDone
        self.otherApp = otherApp
    }
}

/// All that is on record of one task.
public struct TaskRecord: Sendable {
    public var id: String
    public var isDone: Bool
    /// When; nil also where another program wrote that in a form of its own.
    public var completedAt: Timestamp?
    /// `success`, or the first line of the last error.
    public var result: String?
    /// What came of its attempts; nil when there was none here.
    public var outcome: Outcome?
    /// The last attempt; nil when there was none, or it is no longer on record.
    public var run: Run?
    /// Who runs it at this moment.
    public var held: HeldLease?
    /// What persons did about it, newest first.
    public var actions: [TaskAction]

    public init(
        id: String, isDone: Bool = false, completedAt: Timestamp? = nil, result: String? = nil,
        outcome: Outcome? = nil, run: Run? = nil, held: HeldLease? = nil, actions: [TaskAction] = []
    ) {
        self.id = id
        self.isDone = isDone
        self.completedAt = completedAt
        self.result = result
        self.outcome = outcome
        self.run = run
        self.held = held
        self.actions = actions
    }
}

/// A row of the table that says which tasks are done.
public struct DoneTask: Sendable, Equatable {
    public var id: String
    /// Nil for one that is not done.
    public var completedAt: Timestamp?
    public var result: String?

    public init(id: String, completedAt: Timestamp?, result: String?) {
        self.id = id
        self.completedAt = completedAt
        self.result = result
    }

    /// What a run's end is in that table; nil where it says nothing.
    package static func result(_ result: RunResult) -> String? {
        switch result.status {
        case .succeeded: succeeded
        case .failed, .timedOut:
            // Others' tables may have room for no more.
            String((result.errorMessage ?? result.status.rawValue).prefix { !$0.isNewline }.prefix(200))
        default: nil
        }
    }

    package static let succeeded = "success"
}

/// What a person did about a task.
public struct TaskAction: Sendable, Equatable {
    public enum Name: String, Sendable {
        /// Ran it by hand.
        case run
        /// Marked it as done without running it.
        case done
        /// Made a failed one due again.
        case retry
        /// Made it as if it had never run.
        case reset
    }

    public var name: Name
    public var app: String
    public var task: String
    /// Hash of the task as it was then; nil when it was not in the file.
    public var digest: String?
    /// Who did it, and where.
    public var user: String
    public var host: String
    public var at: Timestamp

    public init(
        _ name: Name, app: String, task: String, digest: String?, user: String, host: String, at: Timestamp
    ) {
        self.name = name
        self.app = app
        self.task = task
        self.digest = digest
        self.user = user
        self.host = host
        self.at = at
    }
}

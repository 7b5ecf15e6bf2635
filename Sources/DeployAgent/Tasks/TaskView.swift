public import Ledger
public import Settings

/// A task as file and record together have it.
public struct TaskView: Encodable, Sendable {
    /// How things stand with it, in one word.
    public enum Status: String, Sendable {
        case pending, running, done, failed
        /// It is no longer in the file.
        case gone
        /// It is done, and the file says something else by now.
        case changed
    }

    /// As the file has it; nil when it has not.
    public let task: OneTimeTask?
    public let record: TaskRecord
    /// Whose view it is.
    let app: String
    let mask: @Sendable (String) -> String

    public var status: Status {
        guard let task else { return .gone }
        if record.held != nil { return .running }
        if record.isDone {
            let digest = record.outcome?.attempt.digest
            return digest == nil || digest == task.digest ? .done : .changed
        }
        return hasFailed ? .failed : .pending
    }

    private var hasFailed: Bool {
        record.outcome.flatMap { RunStatus(rawValue: $0.status) }?.isFailure ?? false
    }

    /// Whether it failed as often as its retries allow.
    public var isUsedUp: Bool {
        guard let task, let outcome = record.outcome, !record.isDone, hasFailed else { return false }
        return !task.retries.allows(afterFailures: outcome.failures)
    }

    /// For which other app of the record it was done; nil when that is not so.
    private var otherApp: String? { record.outcome?.attempt.app.flatMap { $0 == app ? nil : $0 } }

    /// What is worth a word beside the status, secrets masked.
    public var detail: String {
        if let held = record.held { return "on \(held.host)\(held.run.map { " (run \($0))" } ?? "")" }
        let error = (record.run?.errorMessage ?? record.result).map(mask)
        switch status {
        case .failed:
            let next =
                isUsedUp
                ? "retries used up"
                : "tried again at the next deployment or start"
                    + (record.outcome?.retryAt.map { ", not before \($0.rfc3339) but by hand" } ?? "")
            return [error, next].compactMap { $0 }.joined(separator: "; ")
        case .changed: return "changed since it was done: give the new work an id of its own"
        case .gone: return record.isDone ? "done" : "not done"
        case .pending where record.outcome?.status == RunStatus.interrupted.rawValue: return "interrupted"
        case .done where record.run == nil:
            return record.actions.first { $0.name == .done }.map { "marked by \($0.user) on \($0.host)" } ?? ""
        case .done: return otherApp.map { "for the app \($0)" } ?? ""
        default: return ""
        }
    }

    enum CodingKeys: String, CodingKey {
        case id, name, status, when, command, line
        case completedAt = "completed_at"
        case result, attempts, failures
        case retryAt = "retry_at"
        case runID = "run_id"
        case app, host, commit
        case startedAt = "started_at"
        case durationMS = "duration_ms"
        case exitCode = "exit_code"
        case errorMessage = "error_message"
        case entryHash = "entry_hash"
        case ranHash = "ran_hash"
        case actions
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        let (outcome, run) = (record.outcome, record.run)
        try container.encode(record.id, forKey: .id)
        try container.encode(task?.name, forKey: .name)
        try container.encode(status.rawValue, forKey: .status)
        try container.encode(task?.when.rawValue, forKey: .when)
        try container.encode((task?.run ?? run?.command).map(mask), forKey: .command)
        try container.encode(task?.line, forKey: .line)
        try container.encode(record.completedAt?.rfc3339, forKey: .completedAt)
        try container.encode(record.result.map(mask), forKey: .result)
        try container.encode(outcome?.attempt.number ?? 0, forKey: .attempts)
        try container.encode(outcome?.failures ?? 0, forKey: .failures)
        try container.encode(isUsedUp ? nil : outcome?.retryAt?.rfc3339, forKey: .retryAt)
        try container.encode(run?.id, forKey: .runID)
        try container.encode(outcome?.attempt.app, forKey: .app)
        try container.encode(outcome?.attempt.host, forKey: .host)
        try container.encode(outcome?.attempt.commit, forKey: .commit)
        try container.encode(run?.startedAt.rfc3339, forKey: .startedAt)
        try container.encode(run?.duration?.wholeMilliseconds, forKey: .durationMS)
        try container.encode(run?.exitCode, forKey: .exitCode)
        try container.encode(run?.errorMessage.map(mask), forKey: .errorMessage)
        try container.encode(task?.digest, forKey: .entryHash)
        try container.encode(outcome?.attempt.digest, forKey: .ranHash)
        try container.encode(record.actions.map(ActionView.init), forKey: .actions)
    }

    private struct ActionView: Encodable {
        let action: String
        let user: String
        let host: String
        let at: String

        init(_ action: TaskAction) {
            self.action = action.name.rawValue
            user = action.user
            host = action.host
            at = action.at.rfc3339
        }
    }
}

/// What a look at the tasks came to, as JSON has it.
public struct TaskCountsView: Encodable, Sendable {
    let counts: TaskCounts
    let mask: @Sendable (String) -> String

    enum CodingKeys: CodingKey { case ran, skipped, failed, error }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(counts.ran, forKey: .ran)
        try container.encode(counts.skipped, forKey: .skipped)
        try container.encode(counts.failed, forKey: .failed)
        try container.encode(counts.error.map(mask), forKey: .error)
    }
}

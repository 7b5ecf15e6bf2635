import Ledger

/// What a run is told about what it runs for (`DEPLOY_*`).
struct RunContext: Sendable {
    var commit: String
    var previousCommit: String?
    var ref: String?
    /// Nil for a task.
    var hook: Hook?
    /// A task's id.
    var task: String?
    var attempt: Int
    var trigger: Trigger
    /// Nil when there is none.
    var deployment: Int64?
    /// Nil before it has begun.
    var run: Int64?
    var workspace: String
    /// The number of the claim under which it runs; nil for a hook of this host.
    var fence: Int64?
    /// What FAILED_DEPLOY runs for; nil for the other hooks.
    var failure: Failure?
    /// Where the commit lies while a hook runs; nil for a task.
    var checkout: String?
    /// The lists of what the commit changes; nil for a task.
    var changed: ChangedSince.Lists?

    /// The strict failure of a hook.
    struct Failure: Sendable {
        var hook: Hook
        var status: RunStatus
        var exitCode: Int?
    }
}

extension RunContext {
    /// As the run's environment has it.
    var variables: [String: String] {
        var variables: [String: String] = [
            "DEPLOY_COMMIT": commit, "DEPLOY_COMMIT_SHORT": String(commit.prefix(7)),
            "DEPLOY_PREVIOUS_COMMIT": previousCommit ?? "", "DEPLOY_REF": ref ?? "",
            "DEPLOY_HOOK": hook?.rawValue ?? "",
            "DEPLOY_ATTEMPT": "\(attempt)", "DEPLOY_TRIGGER": trigger.rawValue,
            "DEPLOY_ID": deployment?.description ?? "",
            "DEPLOY_RUN_ID": run?.description ?? "",
            "DEPLOY_WORKSPACE": workspace, "DEPLOY_FENCE": fence?.description ?? "",
        ]
        if let task { variables["DEPLOY_TASK"] = task }
        if let checkout { variables["DEPLOY_CHECKOUT"] = checkout }
        if let changed {
            variables["DEPLOY_CHANGED_FILES"] = changed.lines
            variables["DEPLOY_CHANGED_FILES_Z"] = changed.ending
        }
        if let failure {
            variables["DEPLOY_FAILED_HOOK"] = failure.hook.rawValue
            variables["DEPLOY_FAILED_STATUS"] = failure.status.rawValue
            variables["DEPLOY_FAILED_EXIT_CODE"] = failure.exitCode.map { "\($0)" } ?? ""
        }
        return variables
    }
}

import Execution
import Ledger
import Settings

/// What a hook is told about its deployment (`DEPLOY_*`).
struct HookContext: Sendable {
    var commit: CommitContext
    var hook: Hook
    /// What FAILED_DEPLOY runs for; nil for the other hooks.
    var failure: FailedHook?
    /// Where the commit lies while the hook runs.
    var checkout: String
    /// The lists of what the commit changes.
    var changed: ChangedSince.Lists?

    /// The strict failure of a hook.
    struct FailedHook: Sendable {
        var hook: Hook
        var status: RunStatus
        var exitCode: Int?
    }

    var runContext: RunContext {
        var variables = ["DEPLOY_HOOK": hook.rawValue, "DEPLOY_CHECKOUT": checkout]
        if let changed {
            variables["DEPLOY_CHANGED_FILES"] = changed.lines
            variables["DEPLOY_CHANGED_FILES_Z"] = changed.ending
        }
        if let failure {
            variables["DEPLOY_FAILED_HOOK"] = failure.hook.rawValue
            variables["DEPLOY_FAILED_STATUS"] = failure.status.rawValue
            variables["DEPLOY_FAILED_EXIT_CODE"] = failure.exitCode.map { "\($0)" } ?? ""
        }
        return commit.runContext(variables)
    }
}

extension HookSettings {
    var runCommand: RunCommand {
        RunCommand(
            title: hook.rawValue, text: command, folder: folder, folderSetting: folderSetting, timeout: timeout)
    }
}

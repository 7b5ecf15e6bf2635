import Ledger

/// What a hook is told about the deployment it runs for (`DEPLOY_*`).
struct HookContext: Sendable {
    var commit: String
    var previousCommit: String?
    var ref: String?
    var hook: Hook
    var attempt: Int
    var trigger: Trigger
    var deployment: Int64
    var run: Int64
    var workspace: String
    /// The number of the claim under which it runs for the whole fleet; nil for a hook of this host.
    var fence: Int64?
    /// What FAILED_DEPLOY runs for; nil for the other hooks.
    var failure: Failure?

    /// The strict failure of a hook.
    struct Failure: Sendable {
        var hook: Hook
        var status: RunStatus
        var exitCode: Int?
    }
}

extension HookContext {
    /// As the hook's environment has it.
    var variables: [String: String] {
        var variables = [
            "DEPLOY_COMMIT": commit, "DEPLOY_COMMIT_SHORT": String(commit.prefix(7)),
            "DEPLOY_PREVIOUS_COMMIT": previousCommit ?? "", "DEPLOY_REF": ref ?? "", "DEPLOY_HOOK": hook.rawValue,
            "DEPLOY_ATTEMPT": "\(attempt)", "DEPLOY_TRIGGER": trigger.rawValue, "DEPLOY_ID": "\(deployment)",
            "DEPLOY_RUN_ID": "\(run)", "DEPLOY_WORKSPACE": workspace, "DEPLOY_FENCE": fence.map { "\($0)" } ?? "",
        ]
        if let failure {
            variables["DEPLOY_FAILED_HOOK"] = failure.hook.rawValue
            variables["DEPLOY_FAILED_STATUS"] = failure.status.rawValue
            variables["DEPLOY_FAILED_EXIT_CODE"] = failure.exitCode.map { "\($0)" } ?? ""
        }
        return variables
    }
}

/// Builds the environment of a hook or of the app: the process environment, the app spec's variables, the `DEPLOY_*`
/// variables; the agent's own settings and credentials (`AGENT_*`) are taken out.
enum RunEnvironment {
    static func entries(
        _ own: [String: String], exports: [String: String], environment: ProcessEnvironment
    ) -> [[UInt8]] {
        let variables = exports.filter { !$0.key.hasPrefix("AGENT_") }.merging(own) { $1 }
        let agentPrefix = Array("AGENT_".utf8)
        let inherited = environment.entries.filter { entry in
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return false }
            // Some systems hand down names that no program could set: they cannot be passed on.
            if (48...57).contains(entry[0]) || entry.starts(with: agentPrefix) { return false }
            let name = String(decoding: entry[..<equals], as: UTF8.self)
            return variables[name] == nil && !name.hasPrefix("DEPLOY_RUN_UUID")
        }
        return inherited + variables.map { Array("\($0.key)=\($0.value)".utf8) }
    }
}

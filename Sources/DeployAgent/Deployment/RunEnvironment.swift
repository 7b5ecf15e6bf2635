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
}

/// Builds a hook's environment: the process environment, the app spec's variables, the `DEPLOY_*` variables; the agent's
/// own settings and credentials (`AGENT_*`) are taken out.
enum HookEnvironment {
    static func entries(_ context: HookContext, exports: [String: String], environment: ProcessEnvironment) -> [[UInt8]]
    {
        var variables = exports.filter { !$0.key.hasPrefix("AGENT_") }
        variables["DEPLOY_COMMIT"] = context.commit
        variables["DEPLOY_COMMIT_SHORT"] = String(context.commit.prefix(7))
        variables["DEPLOY_PREVIOUS_COMMIT"] = context.previousCommit ?? ""
        variables["DEPLOY_REF"] = context.ref ?? ""
        variables["DEPLOY_HOOK"] = context.hook.rawValue
        variables["DEPLOY_ATTEMPT"] = "\(context.attempt)"
        variables["DEPLOY_TRIGGER"] = context.trigger.rawValue
        variables["DEPLOY_ID"] = "\(context.deployment)"
        variables["DEPLOY_RUN_ID"] = "\(context.run)"
        variables["DEPLOY_WORKSPACE"] = context.workspace
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

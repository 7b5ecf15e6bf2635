import Git
package import Shell

/// Builds the environment of a run or of the app: the process environment, the app spec's variables, the `DEPLOY_*`
/// variables; the agent's own settings and credentials (`AGENT_*`) are taken out, and so is what a git that started the
/// agent says of its repository.
package enum RunEnvironment {
    /// What an agent tells a run. Of an outer one, whose hook or app this agent is, none is handed on: they would speak of a run
    /// that is not this one.
    private static let ownNames: Set<String> = Set(
        [
            "COMMIT", "COMMIT_SHORT", "PREVIOUS_COMMIT", "REF", "HOOK", "TASK", "ATTEMPT", "TRIGGER", "ID", "RUN_ID",
            "WORKSPACE", "FENCE", "CHECKOUT", "CHANGED_FILES", "CHANGED_FILES_Z", "FAILED_HOOK", "FAILED_STATUS",
            "FAILED_EXIT_CODE",
        ].map { "DEPLOY_" + $0 })

    /// - Parameter withheld: names that are left out wherever they come from.
    package static func entries(
        _ own: [String: String], exports: [String: String], environment: ProcessEnvironment,
        without withheld: Set<String> = []
    ) -> [[UInt8]] {
        let given = exports.filter { !$0.key.hasPrefix("AGENT_") && !withheld.contains($0.key) }
        let variables = given.merging(own) { $1 }
        let agentPrefix = Array("AGENT_".utf8)
        let inherited = LocalVariables.removed(from: environment.entries).filter { entry in
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return false }
            // Some systems hand down names that no program could set: they cannot be passed on.
            if (48...57).contains(entry[0]) || entry.starts(with: agentPrefix) { return false }
            let name = String(decoding: entry[..<equals], as: UTF8.self)
            return variables[name] == nil && !withheld.contains(name) && !ownNames.contains(name)
                && !name.hasPrefix("DEPLOY_RUN_UUID")
        }
        return inherited + variables.map { Array("\($0.key)=\($0.value)".utf8) }
    }
}

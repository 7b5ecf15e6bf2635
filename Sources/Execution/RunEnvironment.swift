import Git
package import Shell

/// Builds the environment of a run or of the app: the process environment, the app spec's variables, the `DEPLOY_*`
/// variables; the agent's own settings and credentials (`AGENT_*`) are taken out, and so is what a git that started the
/// agent says of its repository.
package enum RunEnvironment {
    package static func entries(
        _ own: [String: String], exports: [String: String], environment: ProcessEnvironment
    ) -> [[UInt8]] {
        let variables = exports.filter { !$0.key.hasPrefix("AGENT_") }.merging(own) { $1 }
        let agentPrefix = Array("AGENT_".utf8)
        let inherited = LocalVariables.removed(from: environment.entries).filter { entry in
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return false }
            // Some systems hand down names that no program could set: they cannot be passed on.
            if (48...57).contains(entry[0]) || entry.starts(with: agentPrefix) { return false }
            let name = String(decoding: entry[..<equals], as: UTF8.self)
            return variables[name] == nil && !name.hasPrefix("DEPLOY_RUN_UUID")
        }
        return inherited + variables.map { Array("\($0.key)=\($0.value)".utf8) }
    }
}

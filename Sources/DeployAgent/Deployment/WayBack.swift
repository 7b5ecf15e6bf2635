import Ledger

/// Where a rollback leads. Pure: the record in, an answer out.
enum WayBack {
    /// How many deployments are looked at, the newest ones.
    static let depth = 200

    /// The last commit before the current one whose deployment succeeded.
    ///
    /// What was deployed lies one on the other, as the ref moved; a rollback takes off what lies above the commit that it went
    /// back to. So one after the other leads further back, and never to what was rolled back from.
    /// - Parameters:
    ///   - current: what the workspace holds.
    ///   - deployments: those that succeeded, the newest first.
    ///   - held: commits that were rolled back from lately.
    static func target(from current: String, _ deployments: [Deployment], held: String?) -> String? {
        var stack: [String] = []
        for deployment in deployments.reversed() where deployment.commit != stack.last {
            if deployment.trigger == .rollback, let index = stack.lastIndex(of: deployment.commit) {
                stack.removeSubrange((index + 1)...)
            } else {
                stack.append(deployment.commit)
            }
        }
        // One that failed past publishing lies on top of all.
        if stack.last == current { stack.removeLast() }
        return stack.last { $0 != current && $0 != held }
    }
}

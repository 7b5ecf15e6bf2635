import Ledger

extension Deployment {
    /// A deployment in which only what a test names is set.
    static func sample(
        id: Int64 = 1, scope: Scope = Scope(app: "a", host: "h", workspace: "/w"), commit: String = "c",
        ref: String? = nil, trigger: Trigger = .poll, attempt: Int = 1, series: Int64 = 1, _ status: DeploymentStatus,
        settled: Bool = true, published: Bool = true, retryAt: Timestamp? = nil,
        startedAt: Timestamp = Timestamp(milliseconds: 0), completedAt: Timestamp? = nil, held: String? = nil
    ) -> Deployment {
        let result = DeploymentResult(
            status: status, settled: settled, retryAt: retryAt, warnings: 0, completedAt: completedAt ?? startedAt)
        return Deployment(
            id: id,
            draft: DeploymentDraft(
                scope: scope, commit: commit, subject: "", author: "", ref: ref, previousCommit: nil, trigger: trigger,
                attempt: attempt, series: series == id ? nil : series, startedAt: startedAt, held: held),
            result: status == .running ? nil : result, published: published)
    }
}

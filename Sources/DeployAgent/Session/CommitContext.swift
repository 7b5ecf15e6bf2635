import Execution
import Ledger

/// What every run for a commit is told about it (`DEPLOY_*`).
struct CommitContext: Sendable {
    var commit: String
    var previousCommit: String?
    var ref: String?
    var trigger: Trigger
    /// Nil where there is none.
    var deployment: Int64?
    var workspace: String

    /// - Parameter own: variables of whoever asks for the run.
    func runContext(_ own: [String: String]) -> RunContext {
        let variables = [
            "DEPLOY_COMMIT": commit, "DEPLOY_COMMIT_SHORT": String(commit.prefix(7)),
            "DEPLOY_PREVIOUS_COMMIT": previousCommit ?? "", "DEPLOY_REF": ref ?? "", "DEPLOY_HOOK": "",
            "DEPLOY_TRIGGER": trigger.rawValue, "DEPLOY_ID": deployment.map { "\($0)" } ?? "",
            "DEPLOY_WORKSPACE": workspace,
        ]
        return RunContext(
            variables: variables.merging(own) { $1 },
            fields: [("commit", commit)] + (deployment.map { [("deployment_id", "\($0)")] } ?? []))
    }
}

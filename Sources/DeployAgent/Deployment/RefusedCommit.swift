import Execution
import Git
import Ledger
import Log
import Logging
import Shell

/// A commit that must not be used, since nobody who may has signed it.
struct RefusedCommit {
    let commit: String
    let ref: String?
    let reason: GitError
    /// Whether somebody is told.
    let notifies: Bool

    /// Records it as a failed deployment that needs no further attempt.
    func record(
        _ scope: Scope, previous: String?, _ trigger: Trigger, attempt: Int, series: Int64?, withPre: Bool,
        _ repository: Repository, _ writer: LedgerWriter, _ log: LogOutput
    ) async throws -> Deployment {
        let info = try await repository.commit(commit)
        let mask = log.secrets.mask
        let draft = DeploymentDraft(
            scope: scope, commit: commit, subject: mask(info.subject), author: mask(info.author), ref: ref.map(mask),
            previousCommit: previous, trigger: trigger, attempt: attempt, series: series, startedAt: .now,
            withPre: withPre)
        let (deployment, _) = try await writer.ledger.begin(draft, firstRun: nil)
        let result = DeploymentResult(
            status: .failed, settled: true, warnings: 0, completedAt: .now, errorMessage: mask(reason.description))
        let end = LedgerEntry.completeDeployment(deployment.id, result)
        try await writer.write(
            notifies ? [end, .notify(deployment: deployment.id, at: result.completedAt)] : [end])
        log.logger().error("\(commit.prefix(7)) is not deployed: \(result.errorMessage ?? "")")
        return deployment.ended(result)
    }
}

import Execution
import Ledger
import Logging

/// Brings the record and the processes in order after an agent that was killed, or after a record that could not be written.
///
/// Call it only while holding the workspace's lock: then nobody else can own what is still marked `running`.
struct Recovery: Sendable {
    let ledger: any LedgerStore
    let state: StateDirectory
    let folder: WorkspaceFolder
    let logger: Logger
    /// What this agent's host is called, and was for the killed agent, in a record that others write to as well.
    let hosts: [String]

    /// Why there may be something to bring in order.
    enum Reason: String {
        case killed = "the agent was killed"
        /// This very agent could not write how a deployment ended. Its hooks have ended, and what a successful one left in the
        /// background lives on.
        case unrecorded = "the record could not be written"
    }

    /// Ends the surviving processes of runs still marked `running`, then records those as interrupted; the commit is due
    /// again.
    /// - Throws: `LedgerError`; then nothing was recorded, though survivors may have been ended.
    func run(workspace: String, grace: Duration, abandoned: Bool, after reason: Reason) async throws {
        let recovery = RunRecovery(ledger: ledger, state: state, folder: folder, logger: logger)
        if abandoned { await recovery.endGit(grace) }
        let (deployments, runs) = try await ledger.unfinished(
            hosts: ledger.isShared ? hosts : nil, workspace: workspace)
        var entries = try await recovery.end(
            runs, wasKilled: reason == .killed, reason: reason.rawValue, grace: grace)
        for deployment in deployments {
            entries.append(
                .completeDeployment(
                    deployment.id,
                    DeploymentResult(
                        status: .interrupted, settled: false, warnings: deployment.warnings, completedAt: .now,
                        errorMessage: "\(reason.rawValue) during the deployment")))
            let next = deployment.cameToNothing ? "" : "; it is due again"
            logger.notice(
                "deployment \(deployment.id) of \(deployment.commit.prefix(7)) was interrupted: \(reason.rawValue)\(next)"
            )
        }
        if !entries.isEmpty { try await ledger.write(entries) }
        recovery.removeMarks()
    }
}

import Execution
import Ledger
import Log
import Logging
import Shell

/// Says where a deployment that failed past publishing leads back to, for this agent or for whoever comes next, should it be
/// killed meanwhile.
struct WayBackNote: Sendable {
    /// `AGENT_ON_FAILURE=rollback`.
    let isWanted: Bool
    let ledger: any LedgerStore
    let folder: WorkspaceFolder
    let log: LogOutput
    let logger: Logger

    /// - Returns: whether there is a way back to go.
    func leave(after failed: Deployment) async -> Bool {
        guard isWanted else { return false }
        do {
            let succeeded = try await ledger.history(.succeeded(failed.scope)).filter { $0.id < failed.id }
            guard let before = WayBack.target(from: failed.commit, succeeded, held: nil) else {
                logger.warning("there is no earlier commit to roll back to: \(failed.commit.prefix(7)) stays")
                return false
            }
            try RollbackRequest(commit: before, held: failed.commit, withPre: false, followsFailure: true).write(folder)
            return true
        } catch {
            logger.error("the way back was not found: \(log.secrets.mask("\(error)"))")
            return false
        }
    }
}

import Git
import Glibc
import Ledger
import Logging
import Shell

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
        if abandoned { await endGit(grace) }
        let (deployments, runs) = try await ledger.unfinished(
            hosts: ledger.isShared ? hosts : nil, workspace: workspace)
        if reason == .killed { try await endUnrecorded(except: Set(runs.map(\.marker)), grace) }
        var entries: [LedgerEntry] = []
        let here = Set(folder.markers())
        for run in runs {
            // A lease of somebody who is called the same, elsewhere, is not ours to end: it runs out when nobody renews it.
            if run.fence != nil, !here.contains(run.marker) { continue }
            // First the processes, then the record: a second copy must not start while the first one lives.
            let found = reason == .killed ? try await endProcesses(run.marker, "\(run.name) (run \(run.id))", grace) : 0
            if found > 0 {
                logger.warning(
                    "ended \(found) processes that \(run.name) (run \(run.id)) had left when the agent was killed")
            }
            entries.append(
                .abandonRun(
                    run.id,
                    RunResult(
                        status: .interrupted, completedAt: .now, outputTail: tail(of: run.id),
                        errorMessage: "\(reason.rawValue) while it ran")))
        }
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
        removeMarks()
    }

    /// Ends git processes of the killed agent: they would write to the same repositories as ours.
    private func endGit(_ grace: Duration) async {
        let (found, _) = await endSurvivors(of: ProcessMark(marker: folder.gitMarker), grace: grace)
        if found > 0 { logger.notice("ended \(found) git processes of an agent that was killed") }
    }

    /// Ends what carries a marker of this workspace that this record does not know: the killed agent kept another one.
    private func endUnrecorded(except known: Set<String>, _ grace: Duration) async throws {
        let markers = folder.markers().filter { !known.contains($0) }
        guard !markers.isEmpty else { return }
        // A run that has ended and whose mark was about to be removed may have left processes on purpose.
        let ended = try await ledger.ended(markers: markers)
        for marker in markers where !ended.contains(marker) {
            let found = try await endProcesses(marker, "a run of another record", grace)
            if found > 0 { logger.warning("ended \(found) processes of a run that is in another record") }
        }
    }

    /// - Returns: how many there were.
    private func endProcesses(_ marker: String, _ what: String, _ grace: Duration) async throws -> Int {
        let (found, survivors) = await endSurvivors(of: folder.processMark(marker), grace: grace)
        guard survivors.isEmpty else {
            throw LedgerError(
                .failed, operation: "bring in order", location: what,
                explanation: "processes \(survivors.map(String.init).joined(separator: ", ")) cannot be ended; "
                    + "nothing is started while they live")
        }
        return found
    }

    /// Everything marked belongs to runs that have ended by now.
    private func removeMarks() {
        for marker in folder.markers() { unlink(folder.mark(marker)) }
    }

    /// The end of what a killed run had printed, from its log file, where secrets are masked already.
    private func tail(of run: Int64) -> String {
        guard let bytes = TextFile.read(state.log(run: run), limit: RunOutput.logLimit) else { return "" }
        return String(decoding: bytes.suffix(RunOutput.tailLimit), as: UTF8.self).replacing("\0", with: "\u{FFFD}")
    }
}

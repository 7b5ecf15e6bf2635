import Glibc
package import Ledger
import Log
package import Logging
import Shell

/// Ends what the runs of an agent that is no more have left, before anything is started in their place.
///
/// Call it only while nobody else can own these runs: its own marks lie in `folder`.
package struct RunRecovery: Sendable {
    private let ledger: any LedgerStore
    private let state: StateDirectory
    private let folder: WorkspaceFolder
    private let logger: Logger

    package init(ledger: any LedgerStore, state: StateDirectory, folder: WorkspaceFolder, logger: Logger) {
        self.ledger = ledger
        self.state = state
        self.folder = folder
        self.logger = logger
    }

    /// Ends the processes that runs have left.
    ///
    /// - Parameters:
    ///   - runs: those still marked `running`.
    ///   - wasKilled: whether processes may live; otherwise the runs have ended, and what they left they left on purpose.
    ///   - reason: why there is no end on record, in words.
    /// - Returns: what the record is to be told of the runs' ends.
    /// - Throws: `LedgerError` when processes cannot be ended, though some may have been.
    package func end(_ runs: [Run], wasKilled: Bool, reason: String, grace: Duration) async throws -> [LedgerEntry] {
        if wasKilled { try await endUnrecorded(except: Set(runs.map(\.marker)), grace) }
        var entries: [LedgerEntry] = []
        let here = Set(folder.markers())
        for run in runs {
            // A lease of somebody who is called the same, elsewhere, is not ours to end: it runs out when nobody renews it.
            if run.fence != nil, !here.contains(run.marker) { continue }
            // First the processes, then the record: a second copy must not start while the first one lives.
            let found = wasKilled ? try await endProcesses(run.marker, "\(run.name) (run \(run.id))", grace) : 0
            if found > 0 {
                logger.warning(
                    "ended \(found) processes that \(run.name) (run \(run.id)) had left when the agent was killed")
            }
            entries.append(
                .abandonRun(
                    run.id,
                    RunResult(
                        status: .interrupted, completedAt: .now, outputTail: tail(of: run.id),
                        errorMessage: "\(reason) while it ran")))
        }
        return entries
    }

    /// Ends git processes of the killed agent: they would write to the same repositories as ours.
    package func endGit(_ grace: Duration) async {
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
    package func removeMarks() {
        for marker in folder.markers() { unlink(folder.mark(marker)) }
    }

    /// The end of what a killed run had printed, from its log file, where secrets are masked already.
    private func tail(of run: Int64) -> String {
        guard let bytes = TextFile.read(state.log(run: run), limit: RunOutput.logLimit) else { return "" }
        return String(decoding: bytes.suffix(RunOutput.tailLimit), as: UTF8.self).replacing("\0", with: "\u{FFFD}")
    }
}

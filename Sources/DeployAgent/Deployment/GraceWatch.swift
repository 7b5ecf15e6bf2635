import Git
import Ledger
import Logging
import Settings
import Shell

/// When releases are looked at whose AGENT_RELEASE_GRACE is over: once at a start and after a deployment, and then only when
/// the time of one has come.
struct GraceWatch {
    private enum State {
        case unknown
        case nothing
        case due(at: Timestamp)
    }
    private var state = State.unknown

    /// A deployment has replaced one.
    mutating func deployed() { state = .unknown }

    /// Whether there is one to be removed.
    ///
    /// - Parameter look: finds out when the next one is.
    mutating func isDue(_ now: Timestamp = .now, look: () throws -> Timestamp?) rethrows -> Bool {
        if case .unknown = state { note(try look()) }
        guard case .due(let time) = state else { return false }
        return time <= now
    }

    mutating func note(_ next: Timestamp?) { state = next.map { .due(at: $0) } ?? .nothing }

    /// What fails is tried again, but not at each check.
    mutating func failed(_ now: Timestamp = .now) { state = .due(at: now.advanced(by: .seconds(600))) }
}

extension Watcher {
    /// Removes releases whose AGENT_RELEASE_GRACE is over, where nothing is deployed.
    func removeOverdueReleases(after outcome: CheckOutcome) async {
        if case .deployment = outcome { return graces.deployed() }
        var settings = settingsInForce
        // As it is, whatever it is to be with the next deployment.
        settings.publish.mode = workspace.isLink ? .symlink : .inPlace
        guard watched.ofCheckout.remote != nil, !stop.isRequested else { return }
        let kept = KeptReleases(
            scope: ownPresence.scope, publish: settings.publish, store: followed.store,
            git: origin.localGit(settings, folder, stop: stop), ledger: ledger)
        do {
            // What a rollback leads to that was asked for stays until that is carried out.
            guard try graces.isDue(look: kept.nextEnd), RollbackRequest.read(folder) == nil,
                let live = await checkedOut()
            else { return }
            let held = try await ledger.history(.newest(kept.scope)).first?.held
            graces.note(try await kept.tidy(live: live, held: held))
            try await kept.store.tidy(kept.git)
        } catch {
            graces.failed()
            logger.warning("releases whose AGENT_RELEASE_GRACE is over could not be removed: \(error)")
        }
    }
}

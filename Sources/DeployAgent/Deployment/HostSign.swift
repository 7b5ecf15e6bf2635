import Ledger
import Log
import Logging
import Settings
import Shell

/// By what a host shows itself to the other agents of the app, where others can see it. What fails here is no failure of
/// the check.
struct HostSign {
    /// Whether this process has shown itself to the others.
    private var isShown = false
    private var isNamesakeSaid = false

    /// - Parameter own: what there is to say besides the check's outcome.
    mutating func show(
        _ own: Presence, _ outcome: CheckOutcome, isStopping: Bool = false, _ ledger: any LedgerStore, _ log: LogOutput
    ) async {
        guard let store = ledger as? any FleetStore else { return }
        // Then this would fail too, and take its time.
        if case .ledgerFailed = outcome { return }
        var presence = own
        (presence.target, presence.outcome) = (outcome.commit, outcome.name)
        presence.problem = outcome.problem.map(log.secrets.mask)
        presence.isStopping = isStopping
        guard let before = try? await store.note(presence) else { return }
        // At its first check it may be this host's agent before.
        if isShown, before != own.instance, !isNamesakeSaid {
            log.logger().warning(
                "another agent calls itself \(own.scope.host) and works on \(own.scope.workspace): their records mix; set \(Setting.host.name) for each"
            )
            isNamesakeSaid = true
        }
        isShown = true
    }

    /// Says that the agent ends in order.
    mutating func showStopping(_ own: Presence, _ ledger: any LedgerStore, _ log: LogOutput) async {
        guard isShown else { return }
        await show(own, .stopped, isStopping: true, ledger, log)
    }

    /// Shows it while a deployment goes on, which may take long.
    static func kept<T: Sendable>(
        _ own: Presence, _ commit: String, _ ledger: any LedgerStore, _ body: () async throws -> T
    ) async rethrows -> T {
        guard let store = ledger as? any FleetStore else { return try await body() }
        var deploying = own
        (deploying.target, deploying.outcome) = (commit, "deploying")
        let presence = deploying
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    _ = try? await store.note(presence)
                    try? await Task.sleep(for: max(presence.interval, .seconds(30)))
                }
            }
            defer { group.cancelAll() }
            return try await body()
        }
    }
}

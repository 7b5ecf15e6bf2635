import Execution
import Git
public import Ledger
import Log
import Settings
import Shell

/// The views of the record, the same for the command line and every other face of the agent.
public struct RecordReader: Sendable {
    private let session: AgentSession
    private let settings: Settings
    private let ledger: (any LedgerStore)?

    /// Opens the record that is there. Without one every view is empty, and none is made.
    /// - Throws: `LedgerError`.
    public init(session: AgentSession) async throws {
        self.session = session
        settings = session.settings
        ledger = try await session.existingLedger()
    }

    /// For a process that has its record open already.
    public init(session: AgentSession, _ inForce: InForce) {
        self.session = session
        settings = inForce.settings
        ledger = inForce.ledger
    }

    private var mask: @Sendable (String) -> String {
        let secrets = session.log.secrets
        return { secrets.mask($0) }
    }

    /// Deployments on this workspace and host, newest first; where there are none, those of the app, so that the record
    /// can also be read from elsewhere.
    ///
    /// - Parameter allHosts: shows those of the app on every host.
    public func history(
        limit: Int, commit: String?, status: DeploymentStatus?, allHosts: Bool = false
    ) async throws -> [Deployment] {
        guard let ledger else { return [] }
        let scope = settings.scope
        var filter = HistoryFilter(host: scope.host, subject: .workspace(scope.workspace), limit: 1)
        if allHosts {
            filter.host = nil
            filter.subject = .app(scope.app)
        } else if try await ledger.history(filter).isEmpty {
            filter.subject = .app(scope.app)
        }
        filter.limit = limit
        filter.commit = commit?.lowercased()
        filter.status = status
        return try await ledger.history(filter)
    }

    /// One deployment by its id, else the newest one of a commit given by the beginning of its id.
    ///
    /// - Parameter isOwn: whether it must be the app's: others may use the same record.
    public func find(_ text: String, isOwn: Bool = false) async throws -> Deployment? {
        if let id = Int64(text), let found = try await ledger?.deployment(id), !isOwn || found.scope.app == settings.app
        {
            return found
        }
        guard text.count >= 4, text.allSatisfy(\.isHexDigit) else { return nil }
        return try await history(limit: 1, commit: text, status: nil).first
    }

    public func runs(of deployment: Deployment) async throws -> [Run] {
        try await ledger?.runs(deployment: deployment.id) ?? []
    }

    public func run(_ id: Int64) async throws -> Run? {
        try await ledger?.run(id)
    }

    /// Whether a run is the app's own.
    public func isOwn(_ run: Run) -> Bool { run.place.app == settings.app }

    /// The end of what a run printed.
    public func outputTail(_ run: Run) async throws -> String {
        try await ledger?.outputTail(run: run.id) ?? ""
    }

    /// Where the output of a run lies on this host; nil when it ran on another one.
    public func logPath(_ run: Run) -> String? {
        let isElsewhere = settings.ledger.isShared && run.place.host != settings.host
        return isElsewhere || run.isAdopted || run.status == .skipped ? nil : session.logPath(run: run.id)
    }

    public func view(_ deployment: Deployment) -> DeploymentView {
        DeploymentView(deployment: deployment, runs: nil, mask: mask)
    }

    /// With its runs and the end of what each has printed.
    ///
    /// - Parameter limit: bytes of that over all runs; each has the same share of them.
    public func viewWithRuns(
        _ deployment: Deployment, outputLimit limit: Int = OutputShare.limit
    ) async throws -> DeploymentView {
        let runs = try await runs(of: deployment)
        let share = OutputShare(of: limit, runs: runs.count)
        var views: [RunView] = []
        // One run's text at a time: each may have 64 KiB, of which a long list keeps little.
        for run in runs { views.append(view(run, outputTail: share.end(of: try await outputTail(run)))) }
        return DeploymentView(deployment: deployment, runs: views, mask: mask)
    }

    public func viewWithoutRuns(_ deployment: Deployment) -> DeploymentView {
        DeploymentView(deployment: deployment, runs: [], mask: mask)
    }

    public func view(_ run: Run) async throws -> RunView { view(run, outputTail: try await outputTail(run)) }

    private func view(_ run: Run, outputTail: String) -> RunView {
        RunView(run: run, log: logPath(run), outputTail: outputTail, mask: mask)
    }

    public func view(_ tasks: TaskCounts) -> TaskCountsView { TaskCountsView(counts: tasks, mask: mask) }

    /// How things stand.
    public func status() async throws -> StatusView {
        let last = try await history(limit: 1, commit: nil, status: nil).first
        return StatusView(
            scope: settings.scope, commit: await workspaceHead(), lastDeployment: try await lastWithRuns(last),
            lastSucceededCommit: try await history(limit: 1, commit: nil, status: .succeeded).first?.commit,
            heldCommit: try await hold()?.commit, holder: session.lockHolder(), last: session.lastCheck(),
            ledger: settings.ledger.description,
            mask: mask)
    }

    /// The app's hosts, and who holds which lease.
    ///
    /// - Parameter all: shows hosts too that were not seen for a day.
    /// - Throws: `LedgerError`; `SettingsError` when the record is not one that hosts share.
    public func fleet(all: Bool) async throws -> FleetView {
        guard settings.ledger.isShared else {
            throw SettingsError(
                Setting.ledgerURL.name,
                "the fleet is seen in a PostgreSQL ledger that all of its hosts share; this one is \(settings.ledger.description)",
                source: .fallback)
        }
        let fleet = try await (ledger as? any FleetStore)?.fleet(app: settings.app)
        return FleetView(app: settings.app, fleet ?? Fleet(hosts: [], leases: []), all: all, mask: mask)
    }

    private func lastWithRuns(_ deployment: Deployment?) async throws -> DeploymentView? {
        guard let deployment else { return nil }
        return try await viewWithRuns(deployment)
    }

    private func workspaceHead() async -> String? {
        (try? await settings.place.state())?.head
    }

    /// The deployment that holds a commit, and that commit; nil when none is held.
    private func hold() async throws -> (by: Deployment, commit: String)? {
        guard let latest = try await ledger?.facts(settings.scope, commit: "").latest else { return nil }
        return latest.held.map { (latest, $0) }
    }

    /// Makes a failed commit due again, or one that was rolled back from, or what was gone back to.
    ///
    /// - Parameter commit: the beginning of a commit's id; nil for what is held, else the newest deployment.
    /// - Returns: the deployment that was settled or waiting, nil when there is nothing to retry.
    /// - Throws: `LedgerError`.
    public func retry(_ commit: String?) async throws -> Deployment? {
        let hold = try await hold()
        func newest(_ commit: String?) async throws -> Deployment? {
            try await history(limit: WayBack.depth, commit: commit, status: nil).first { each in
                // A rollback that came to nothing is asked for again, by its own command; but not one to what is to be there.
                !each.cameToNothing || hold.map { each.commit == $0.by.commit && each.id > $0.by.id } ?? false
            }
        }
        if let hold, hold.commit.hasPrefix(commit?.lowercased() ?? "") {
            try await ledger?.releaseHold(hold.by.id)
            guard let last = try await newest(hold.commit) else { return hold.by }
            try await ledger?.makeDue(last.id)
            return last
        }
        // Who tries a commit again wants no way back from it.
        RollbackRequest.removeWayBack(session.state.workspace(settings.workspace))
        let last = try await newest(commit)
        guard let last, last.status == .failed || last.status == .interrupted || last.status == .deferred
        else { return nil }
        try await ledger?.makeDue(last.id)
        return last
    }
}

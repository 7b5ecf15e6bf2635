import Execution
import Git
import Glibc
public import Ledger
public import Log
public import Logging
public import Settings
import Shell

/// What every command of the agent starts from: settings, log, record.
public struct AgentSession: Sendable {
    public let origin: SettingsOrigin
    /// As they hold for the commit in the workspace, or without one.
    public let settings: Settings
    public let log: LogOutput
    public let logger: Logger
    let state: StateDirectory
    /// This process among all agents.
    let instance = Runner.newMarker()

    /// Reads the settings: the environment's, and those in the spec of the commit that the workspace holds.
    ///
    /// - Throws: `SettingsError`.
    public init(origin: SettingsOrigin) async throws {
        self.origin = origin
        let base = try origin.base()
        var settings = base
        var specProblem: SettingsError?
        do {
            let workspace = base.place
            let folder = StateDirectory(path: base.stateDirectory).workspace(base.workspace)
            let store = CommitStore(folder: folder.path)
            var verified = VerifiedCommits()
            // Before the first publish the spec of the commit fetched last says what is secret, and more.
            let head = try await workspace.state().head
            let repository = head == nil ? store.repository : workspace.repository
            let fetched = head == nil && base.remote != nil ? await store.fetchedCommit() : nil
            if let commit = head ?? fetched,
                try await verified.mayUse(commit, in: repository.path, base, folder, origin.localGit(base, folder))
            {
                settings = try await origin.settings(for: commit, in: repository, workspace: workspace.path)
            }
        } catch let error as SettingsError {
            // Not the end: with a remote the next commit may have a right one. The check says what is wrong.
            specProblem = error
        } catch {}
        self.settings = settings
        log = LogOutput(
            format: settings.logFormat, level: settings.logLevel, secrets: settings.secrets,
            environment: origin.environment)
        logger = log.logger()
        state = StateDirectory(path: settings.stateDirectory)
        self.specProblem = specProblem
    }

    /// What is wrong with the spec of the workspace's commit; its settings are not used then.
    public let specProblem: SettingsError?

    /// What is worth a word beside the settings' own warnings: a place where nothing can be deployed, and an app spec that
    /// is not read, since it is not committed or not fetched yet.
    public func advice() async -> [String] {
        let workspace = settings.place
        let store = CommitStore(folder: state.workspace(settings.workspace).path)
        let obstacle = (try? await workspace.state()).flatMap { settings.obstacle($0, at: workspace, store) }
        var advice = obstacle.map { [$0.description] } ?? []
        if obstacle == nil, settings.publish.links == .replaced, let link = settings.publish.foreignLink {
            advice.append(
                "\(link): the first deployment puts the agent's own into its place and leaves what it points to")
        }
        return advice + (await adviceOnNext(workspace, store)) + (await adviceOnSpec())
    }

    /// What keeps the commit fetched last from being published.
    private func adviceOnNext(_ workspace: Workspace, _ store: CommitStore) async -> [String] {
        guard settings.remote != nil, settings.publish.mode == .inPlace, let commit = await store.fetchedCommit() else {
            return []
        }
        do {
            try await workspace.expectRoom(for: commit, from: store)
            return []
        } catch let error as GitError where error.code == .obstructed {
            return [log.secrets.mask(error.description)]
        } catch {
            return []
        }
    }

    private func adviceOnSpec() async -> [String] {
        let repository = Repository(path: settings.workspace)
        var advice: [String] = []
        guard let head = try? await repository.head() else {
            if settings.remote != nil {
                advice.append("there is no checkout yet: the app spec is read once a commit has been fetched")
            }
            return advice
        }
        for name in ["appspec.yaml", "appspec.yml"] {
            guard let written = TextFile.read("\(settings.workspace)/\(name)", limit: AppSpec.sizeLimit) else {
                continue
            }
            if let committed = try? await repository.file(name, in: head, limit: AppSpec.sizeLimit),
                committed == written
            {
                continue
            }
            advice.append(
                "\(name) in the workspace is not as commit \(head.prefix(7)) has it; only what is committed is read")
        }
        return advice
    }

    /// Whose record the views show.
    public var scope: Scope { settings.scope }

    /// Opens the record for writing, creating it where there is none.
    ///
    /// - Parameter deploys: whether something is deployed or run, and not only noted there.
    /// - Throws: `LedgerError`, `SettingsError`.
    public func openLedger(deploys: Bool = true) throws -> any LedgerStore {
        try state.require(for: settings.workspace, deploys: deploys)
        return try settings.ledger.open(tasksTable: settings.tasksTable, within: settings.ledgerTimeout, for: log)
    }

    /// Opens the record that is there; nil when there is none yet, and nothing is created.
    /// - Throws: `LedgerError`, also when it cannot be told whether there is one.
    public func existingLedger() async throws -> (any LedgerStore)? {
        try await settings.ledger.openExisting(
            tasksTable: settings.tasksTable, within: settings.ledgerTimeout)
    }

    /// Where a run's log file lies.
    func logPath(run: Int64) -> String {
        state.log(run: run)
    }

    /// What the last check on the workspace came to, also when its agent has ended.
    func lastCheck() -> LockRecord? { WorkspaceLock.lastCheck(state.workspace(settings.workspace)) }

    /// Who works on the workspace at this moment; nil when nobody does.
    public func lockHolder() -> LockRecord? {
        WorkspaceLock.holder(state.workspace(settings.workspace))
    }

    package func attemptLock(command: String) throws -> WorkspaceLock.Attempt {
        try WorkspaceLock.attempt(state.workspace(settings.workspace), command: command, host: settings.host)
    }

    /// What was kept for a record that could not be reached.
    private var spool: Spool { Spool(folder: state.workspace(settings.workspace).path + "/spool", logger: logger) }

    func writer(_ ledger: any LedgerStore, stop: StopSignal) -> LedgerWriter {
        LedgerWriter(ledger: ledger, spool: spool, logger: logger, stop: stop)
    }
}

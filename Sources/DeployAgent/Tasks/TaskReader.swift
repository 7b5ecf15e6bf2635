import Execution
import Git
public import Ledger
import Log
public import Settings
import Shell

/// The tasks of the commit in the workspace, and what the record knows of them.
public struct TaskReader: Sendable {
    private let session: AgentSession
    /// Nil when there is none yet.
    private let ledger: (any LedgerStore)?
    /// Nil when the workspace holds no commit, or its commit has no such file.
    let file: DeployFile?
    /// The commit in the workspace.
    let commit: String?
    /// Of a file that is another tool's.
    private let note: String?

    /// Opens the record that is there, and reads the file.
    /// - Throws: `LedgerError`, `SettingsError` when the file cannot be used, `GitError`.
    public init(session: AgentSession) async throws {
        try await self.init(session: session, session.existingLedger())
    }

    /// For a process that has its record open already.
    public init(session: AgentSession, _ ledger: (any LedgerStore)?) async throws {
        self.session = session
        self.ledger = ledger
        (commit, file, note) = try await session.deployFile()
    }

    /// What is missing for the list to say all; nil when nothing is.
    public var lack: String? {
        if commit == nil {
            return "there is no checkout at \(session.settings.workspace): only the record's tasks are known"
        }
        return ledger == nil ? "there is no record yet at \(session.settings.ledger.description)" : note
    }

    /// What the file is called, for messages.
    public var fileName: String { file?.file ?? session.settings.deployFile?.value ?? "deploy.yaml" }

    /// Tasks in the order of the file, then those that the record alone knows.
    /// - Throws: `LedgerError`.
    public func list() async throws -> [TaskView] {
        let records = try await ledger?.tasks() ?? []
        let known = Dictionary(uniqueKeysWithValues: records.map { ($0.id, $0) })
        let (secrets, app) = (session.log.secrets, session.settings.app)
        let own = (file?.tasks ?? []).map { task in
            TaskView(
                task: task, record: known[task.id] ?? TaskRecord(id: task.id), app: app, mask: { secrets.mask($0) })
        }
        let ids = Set(own.map(\.record.id))
        return own
            + records.filter { !ids.contains($0.id) }.map { record in
                TaskView(task: nil, record: record, app: app, mask: { secrets.mask($0) })
            }
    }

    /// What a person runs, in that order.
    ///
    /// - Parameter ids: tasks that are run also when their retries are used up; none for all that are due.
    /// - Throws: `LedgerError`, `UnknownTask`.
    public func due(_ ids: [String]) async throws -> [TaskView] {
        let all = try await list()
        for id in ids {
            guard try find(id, in: all).task != nil else {
                throw UnknownTask(id: id, file: fileName, near: nil, isGone: true)
            }
        }
        return all.filter { view in
            view.task != nil && !view.record.isDone && (ids.isEmpty ? !view.isUsedUp : ids.contains(view.record.id))
        }
    }

    /// One task; what is wrong when there is none of that id.
    /// - Throws: `LedgerError`, `UnknownTask`.
    public func find(_ id: String) async throws -> TaskView {
        try find(id, in: await list())
    }

    private func find(_ id: String, in all: [TaskView]) throws -> TaskView {
        if let found = all.first(where: { $0.record.id == id }) { return found }
        let near = all.map { ($0.record.id, NearMiss.distance($0.record.id, id)) }.min { $0.1 < $1.1 }
        throw UnknownTask(id: id, file: fileName, near: near.flatMap { $0.1 <= 2 ? $0.0 : nil })
    }

    /// A task that neither file nor record has.
    public struct UnknownTask: Error, CustomStringConvertible {
        let id: String
        let file: String
        let near: String?
        /// The record knows it, the file does not.
        var isGone = false

        public var description: String {
            if isGone {
                return "task \"\(id)\" is no longer in \(file): the record knows what came of it, not what to run"
            }
            return "no task \"\(id)\" in \(file) or in the record\(near.map { "; did you mean \"\($0)\"?" } ?? "")"
        }
    }
}

extension AgentSession {
    /// The commit in the workspace and its file with the tasks; nil where there is none. The note is of one that has the
    /// name and is another tool's.
    ///
    /// - Throws: `SettingsError` when the file cannot be used, `GitError`.
    public func deployFile() async throws -> (commit: String?, file: DeployFile?, note: String?) {
        let workspace = settings.place
        guard let commit = try await workspace.state().head else { return (nil, nil, nil) }
        if let signatures = settings.git.signatures {
            // What nobody has signed is not run, also not by hand.
            let folder = state.workspace(settings.workspace)
            try await signatures.expect(
                commit, in: workspace.path, folder: folder.path, origin.localGit(settings, folder))
        }
        let file = try await origin.deployFile(
            settings.deployFile, for: commit, in: workspace.repository, workspace: settings.workspace)
        return (commit, file?.isForeign == true ? nil : file, file?.note)
    }
}

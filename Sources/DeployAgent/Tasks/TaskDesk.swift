import Glibc
public import Ledger
import Settings
import Shell

/// What a person does about a task without running it, each recorded with who and when.
public struct TaskDesk: Sendable {
    public enum Answer: Sendable {
        case done(TaskView)
        /// It is running: nothing was done.
        case running(HeldBy)
        /// There is nothing to do, in words.
        case nothing(String)
    }

    private let session: AgentSession
    private let ledger: any LedgerStore
    private let reader: TaskReader

    /// - Throws: `SettingsError`, `LedgerError`, `GitError`.
    public init(session: AgentSession, _ ledger: any LedgerStore) async throws {
        self.session = session
        self.ledger = ledger
        reader = try await TaskReader(session: session, ledger)
    }

    /// Notes a task as done.
    ///
    /// - Parameter evenIfUnknown: whether an id that neither file nor record has is meant all the same.
    /// - Throws: `TaskReader.UnknownTask`, `LedgerError`.
    public func markDone(_ id: String, evenIfUnknown: Bool) async throws -> Answer {
        do {
            let view = try await reader.find(id)
            guard !view.record.isDone else { return .nothing("task \(id) is done already") }
        } catch let error as TaskReader.UnknownTask {
            guard evenIfUnknown, OneTimeTask.isID(id) else { throw error }
        }
        return try await act(.done, id)
    }

    /// Makes a failed task due again, also when its retries are used up.
    /// - Throws: `TaskReader.UnknownTask`, `LedgerError`.
    public func retry(_ id: String) async throws -> Answer {
        let view = try await reader.find(id)
        guard !view.record.isDone else {
            return .nothing("task \(id) is done; `agent tasks reset \(id) --yes` makes it run again")
        }
        guard view.record.outcome != nil else { return .nothing("task \(id) has not been tried yet; it is due") }
        return try await act(.retry, id)
    }

    /// Makes a task as if it had never run.
    /// - Throws: `TaskReader.UnknownTask`, `LedgerError`.
    public func reset(_ id: String) async throws -> Answer {
        let view = try await reader.find(id)
        guard view.record.isDone || view.record.outcome != nil else {
            return .nothing("task \(id) has not been tried yet")
        }
        return try await act(.reset, id)
    }

    private func act(_ name: TaskAction.Name, _ id: String) async throws -> Answer {
        let digest = reader.file?.tasks.first { $0.id == id }?.digest
        if let held = try await ledger.record(session.action(name, id, digest: digest)) { return .running(held) }
        return .done(try await reader.find(id))
    }
}

extension AgentSession {
    /// An action of whoever runs this command, now.
    func action(_ name: TaskAction.Name, _ task: String, digest: String?) -> TaskAction {
        TaskAction(
            name, app: settings.app, task: task, digest: digest, user: Self.userName(origin.environment),
            host: settings.host, at: .now)
    }

    /// Who runs this command: behind sudo, who called it.
    private static func userName(_ environment: ProcessEnvironment) -> String {
        if getuid() == 0, let caller = environment["SUDO_USER"] { return caller }
        return getpwuid(getuid()).map { String(cString: $0.pointee.pw_name) } ?? "uid \(getuid())"
    }
}

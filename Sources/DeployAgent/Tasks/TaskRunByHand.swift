import Execution
import Git
import Glibc
public import Ledger
import Log
import Logging
public import ServiceLifecycle
import Settings
import Shell

/// `agent tasks run`: runs tasks now, beside an agent that may be at work, under the same leases.
///
/// On graceful shutdown the task in progress is ended and recorded.
public final class TaskRunByHand: Service {
    private let session: AgentSession
    private let ledger: any LedgerStore
    private let ids: [String]
    private let reader: TaskReader
    private let stop = StopSignal()
    private let cell = Cell<TaskCounts?>(nil)

    /// - Parameter ids: tasks to run, also when their retries are used up; none for all that are due.
    /// - Throws: `TaskReader.UnknownTask`, `SettingsError`, `LedgerError`, `GitError`.
    public init(session: AgentSession, _ ledger: any LedgerStore, ids: [String]) async throws {
        self.session = session
        self.ledger = ledger
        self.ids = ids
        reader = try await TaskReader(session: session, ledger)
        _ = try await reader.due(ids)
    }

    /// What it came to; nil before `run()` has returned.
    public var counts: TaskCounts? { cell.get() }

    /// How the tasks that were asked for stand, in the order of the file.
    /// - Throws: `LedgerError`.
    public func views() async throws -> [TaskView] {
        try await reader.list().filter { view in
            view.task != nil && (ids.isEmpty || ids.contains(view.record.id))
        }
    }

    public func run() async throws {
        await withGracefulShutdownHandler {
            await runTasks()
        } onGracefulShutdown: {
            self.stop.request()
            self.ledger.hurry()
        }
    }

    private func runTasks() async {
        guard let file = reader.file, let commit = reader.commit else { return cell.set(TaskCounts()) }
        let (settings, scope) = (session.settings, session.scope)
        let writer = session.writer(ledger, stop: stop)
        let facts: LedgerFacts
        do {
            facts = try await writer.ask { [ledger] in try await ledger.facts(scope, commit: commit) }
        } catch {
            // To whose deployment the runs belong nobody knows.
            let text = session.log.secrets.mask("\(error); no task runs")
            session.logger.warning("tasks: \(text)")
            return cell.set(TaskCounts(skipped: file.tasks.count, error: text))
        }
        let occasion = WorkOccasion(
            scope: scope, commit: commit, ref: settings.followedName(found: facts.latest?.ref),
            previousCommit: facts.lastSucceededCommit,
            trigger: .manual, deployment: facts.latestOfCommit?.id, settings: settings,
            instance: session.instance, isByHand: true, isForced: !ids.isEmpty)
        // An agent at work on the workspace ends, when it starts, what the one before it left in its own folder.
        let folder = session.state.workspace(settings.workspace).byHand
        mkdir(folder.running, 0o700)
        let runner = Runner(
            state: session.state, folder: folder, log: session.log, environment: session.origin.environment, stop: stop,
            access: WorkspaceAccess(settings: settings, folder: folder, commit: commit))
        var step = TaskStep(
            occasion,
            WorkTools(
                ledger: ledger, runner: runner, writer: writer, logger: session.logger, waiting: { _ in }))
        await step.begin(.success(ids.isEmpty ? file : file.with(tasks: Set(ids))))
        do {
            // What has failed as often as it may is passed over, and nobody ran it.
            let views = try await reader.due(ids)
            for task in step.due where views.contains(where: { $0.record.id == task.id }) {
                _ = try await ledger.record(session.action(.run, task.id, digest: task.digest))
            }
            await step.run(.beforeApp)
            await step.run(.afterApp)
        } catch {
            step.fail("\(error); no task runs")
        }
        step.announce()
        if occasion.deployment == nil { await tidy() }
        cell.set(step.counts)
    }

    /// Runs that belong to no deployment go with none.
    private func tidy() async {
        do {
            let runs = try await ledger.pruneAlone(session.scope, keep: session.settings.keep)
            for run in runs { unlink(session.state.log(run: run)) }
        } catch {
            session.logger.warning("old runs could not be deleted: \(error)")
        }
    }
}

import Execution
import Glibc
import Ledger
import Log
import Logging
import Settings
import Shell

/// Runs the one-time tasks that are due, one after the other, and counts what came of them.
///
/// Whatever fails here, a task or the whole step, is a warning: it stops neither the deployment nor the app.
struct TaskStep: AfterPublishStep {
    private let occasion: WorkOccasion
    private let ledger: any LedgerStore
    private let runner: Runner
    private let writer: LedgerWriter
    private let logger: Logger
    private let waiting: @Sendable (Duration) -> Void

    /// Tasks that are not done, in the order of the file.
    private(set) var due: [OneTimeTask] = []
    /// When a task that was passed over, or could not be asked for, is to be looked at again.
    private(set) var retryAt: Timestamp?
    /// Failures, for the deployment's warnings.
    private(set) var warnings = 0
    private var total: Int?
    private var ran = 0
    private var failed = 0
    private var problem: String?
    /// Whether the record cannot be used any more: no further task is begun.
    private var isOver = false

    init(_ occasion: WorkOccasion, _ tools: WorkTools) {
        self.occasion = occasion
        ledger = tools.ledger
        runner = tools.runner
        writer = tools.writer
        logger = tools.logger
        waiting = tools.waiting
    }

    var isDue: Bool { !due.isEmpty }

    func isDue(_ when: OneTimeTask.When) -> Bool { due.contains { $0.when == when } }

    var counts: TaskCounts? {
        guard total != nil || problem != nil else { return nil }
        return TaskCounts(ran: ran, skipped: (total ?? 0) - ran - failed, failed: failed, error: problem)
    }

    mutating func begin(_ file: Result<DeployFile?, SettingsError>) async {
        switch file {
        // It gets no better before the next commit or start.
        case .failure(let error): fail("\(error); no task runs", retries: false)
        case .success(nil): return
        case .success(let file?):
            total = file.tasks.count
            guard !file.tasks.isEmpty else { return }
            do {
                let (ledger, app) = (ledger, occasion.scope.app)
                let entries = file.tasks.map { TaskEntry(id: $0.id, digest: $0.digest) }
                let found = try await writer.ask { try await ledger.toDo(entries, app: app) }
                warn(ofOtherApps: found)
                for task in found where task.isDone && task.otherApp == nil {
                    logger.warning(
                        "task \(task.id) has changed since it was done and does not run again; give the new work an id of its own"
                    )
                }
                let open = Set(found.lazy.filter { !$0.isDone }.map(\.id))
                due = file.tasks.filter { open.contains($0.id) }
            } catch {
                fail("\(error); no task runs")
            }
        }
    }

    /// What another app of the record has done is done, and mostly meant as something else.
    private func warn(ofOtherApps found: [TaskToDo]) {
        for (app, tasks) in Dictionary(grouping: found.filter { $0.otherApp != nil }, by: { $0.otherApp ?? "" })
            .sorted(by: { $0.key < $1.key })
        {
            let shown = tasks.prefix(5).map(\.id).joined(separator: ", ")
            let more = tasks.count > 5 ? " and \(tasks.count - 5) more" : ""
            logger.warning(
                "the app \(app), which has the same record, has done \(shown)\(more): not run here. Ids are shared within a record; give each app ids, or a record, of its own"
            )
        }
    }

    mutating func run(_ when: OneTimeTask.When) async {
        for task in due where task.when == when {
            guard !isOver, !runner.stop.isRequested else { return }
            do {
                try await run(task)
            } catch let error as LedgerError where error.code == .foreign || error.code == .refused {
                // The record or its table takes nothing of this one; of the next one it may.
                fail("task \(task.id): \(error)")
            } catch {
                isOver = true
                fail("task \(task.id): \(error)")
            }
        }
    }

    func announce() {
        guard total != nil, let counts else { return }
        var logger = logger
        logger[metadataKey: "ran"] = "\(counts.ran)"
        logger[metadataKey: "skipped"] = "\(counts.skipped)"
        logger[metadataKey: "failed"] = "\(counts.failed)"
        logger.info("tasks: ran: \(counts.ran), skipped: \(counts.skipped), failed: \(counts.failed)")
    }

    /// Notes why the tasks could not be run.
    mutating func fail(_ text: String, retries: Bool = true) {
        let text = runner.log.secrets.mask(text)
        problem = problem ?? text
        warnings += 1
        if retries { retryAt = Timestamp.now.advanced(by: occasion.settings.interval) }
        logger.warning("tasks: \(text)")
    }

    // MARK: - One task

    private mutating func run(_ task: OneTimeTask) async throws {
        let settings = occasion.settings
        let command = RunCommand(
            title: "task \(task.id)", text: task.run, folder: task.folder, folderSetting: "task \(task.id): folder",
            timeout: task.timeout, environment: task.environment)
        let draft = RunDraft(
            kind: .task, name: task.id, parent: occasion.deployment.map { .deployment($0) }, place: occasion.scope,
            worker: occasion.instance, marker: Runner.newMarker(),
            command: runner.log.secrets.mask(task.run), folder: task.folder, mode: HookMode.lenient.rawValue,
            timeout: task.timeout, attempt: 1, startedAt: .now, scope: ledger.isShared ? .fleet : .host,
            digest: task.digest)
        let request = ClaimRequest(
            scope: occasion.scope, commit: occasion.commit, holder: occasion.instance, run: draft,
            retries: task.retries.limit, isLenient: false, ignoresBackoff: !occasion.trigger.respectsBackoff,
            isForced: occasion.isForced)
        let context = CommitContext(
            commit: occasion.commit, previousCommit: occasion.previousCommit, ref: occasion.ref,
            trigger: occasion.trigger, deployment: occasion.deployment,
            workspace: occasion.scope.workspace
        ).runContext(["DEPLOY_TASK": task.id])
        let leased = LeasedRunner(
            store: ledger, command: command, settings: settings.execution, runner: runner, writer: writer,
            logger: logger)
        let longest = task.timeout + settings.killGrace * 2
        // Waiting for another host's run and then, when that one died, a run of its own.
        waiting(longest * 2)
        let outcome = try await leased.run(
            request, in: occasion.scope.workspace, context,
            patience: isWaitedFor(task) ? task.timeout : .zero, waiting: { [waiting] in waiting(longest) })
        switch outcome {
        case .stopped: return
        case .ran(let run, let result, let failures):
            unlink(runner.folder.mark(run.marker))
            note(task, run, result, failures)
        case .lost(let run, _):
            unlink(runner.folder.mark(run.marker))
        case .notHere(let run, let message):
            unlink(runner.folder.mark(run.marker))
            warnings += 1
            logger.warning("task \(task.id): this host cannot run it: \(message)")
            retry(in: settings.interval)
        case .adopted(let run, let result, let failures, let retryIn, let wasAwaited):
            guard result.status != .succeeded else {
                return logger.debug("task \(task.id) is done")
            }
            let isOver = result.status != .deferred && !task.retries.allows(afterFailures: failures)
            let number = run.map { " (run \($0))" } ?? ""
            let before = result.status == .deferred ? "" : "it \(words(result.status))\(number); "
            logger.notice("task \(task.id) is not run: \(before)\(fate(task, result.status, failures, retryIn))")
            // What somebody has tried while this one waited has had its attempt.
            if !isOver, !wasAwaited { retry(in: retryIn) }
        case .held(let held):
            guard isWaitedFor(task) else {
                logger.info("task \(task.id) runs on \(held.host) (\(held.runInWords))")
                // Should its agent be dead, nobody else would look before the next start.
                return retry(in: held.expiresIn + .seconds(1))
            }
            warnings += 1
            logger.warning(
                "task \(task.id) still runs on \(held.host) (\(held.runInWords)) after \(DurationText.text(task.timeout)): not waited for any longer"
            )
        }
    }

    private func isWaitedFor(_ task: OneTimeTask) -> Bool { task.when == .beforeApp || occasion.isByHand }

    private mutating func note(_ task: OneTimeTask, _ run: Run, _ result: RunResult, _ failures: Int) {
        let took = DurationText.text(.milliseconds(max(1, result.completedAt.millisecondsSince(run.startedAt))))
        var logger = logger
        logger[metadataKey: "task"] = "\(task.id)"
        logger[metadataKey: "run_id"] = "\(run.id)"
        switch result.status {
        case .succeeded:
            ran += 1
            logger.info("task \(task.id) succeeded in \(took)")
        case .failed, .timedOut:
            failed += 1
            warnings += 1
            let retryIn = Backoff.delay(afterFailures: failures, interval: occasion.settings.interval)
            logger.warning(
                "task \(task.id) \(words(result.status)) after \(took): \(result.errorMessage ?? ""); \(fate(task, result.status, failures, task.retries.allows(afterFailures: failures) ? retryIn : nil))"
            )
        default:
            logger.notice("task \(task.id) \(words(result.status)): \(result.errorMessage ?? "")")
            if result.status == .deferred { retry(in: occasion.settings.interval * 0.85) }
        }
    }

    /// - Parameter delay: nil for never.
    private mutating func retry(in delay: Duration?) {
        guard let delay else { return }
        let time = Timestamp.now.advanced(by: delay)
        if retryAt.map({ time < $0 }) ?? true { retryAt = time }
    }

    /// What becomes of a task that did not succeed.
    private func fate(_ task: OneTimeTask, _ status: RunStatus, _ failures: Int, _ retryIn: Duration?) -> String {
        guard let retryIn, task.retries.allows(afterFailures: failures) else {
            return
                "it failed \(failures) time\(failures == 1 ? "" : "s") and its retries are used up; `agent tasks retry \(task.id)` makes it due again"
        }
        let time = Timestamp.now.advanced(by: retryIn).rfc3339
        return status == .deferred
            ? "it asked to be tried again later, not before \(time)"
            : "tried again at the next deployment or start, not before \(time) but by hand"
    }

    private func words(_ status: RunStatus) -> String { status.rawValue.replacing("_", with: " ") }
}

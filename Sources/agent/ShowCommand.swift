import ArgumentParser
import DeployAgent
import Ledger
import Log

/// `agent show`: one deployment with its runs, or one run.
struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show one deployment with its runs, or one run.",
        discussion: """
            Example:
              agent show 12
              agent show 3f2a9c1
              agent show --run 34
            """)

    @Argument(help: ArgumentHelp("A deployment's id, or the beginning of a commit's id.", valueName: "id|commit"))
    var which: String?

    @Option(help: ArgumentHelp("One run by its id, whether it belongs to a deployment or not.", valueName: "id"))
    var run: Int64?

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (which == nil) != (run == nil) else {
            throw ValidationError(
                "name one: a deployment's id, the beginning of a commit's id, or --run with a run's id")
        }
    }

    func run() async throws {
        try await common.session { session, reporter in
            let reader = try await RecordReader(session: session)
            if let id = run {
                guard let found = try await reader.run(id) else {
                    reporter.say("no run \(id) in the record; `agent show` and `agent tasks list` name them")
                    return .notFound
                }
                if json { try printJSON(try await reader.view(found)) } else { try await show(found, reader, session) }
                return .success
            }
            let which = which ?? ""
            guard let deployment = try await reader.find(which) else {
                reporter.say(
                    "no deployment \"\(which)\" in the record; `agent history` lists them")
                return .notFound
            }
            if json {
                try printJSON(try await reader.viewWithRuns(deployment))
                return .success
            }
            let mask = session.log.mask
            var rows = [
                [
                    "deployment",
                    "\(deployment.id): \(deployment.status.rawValue)\(deployment.warnings > 0 ? " with \(deployment.warnings) warning(s)" : "")",
                ],
                ["app", "\(deployment.scope.app) on \(deployment.scope.host), \(deployment.scope.workspace)"],
                ["commit", "\(deployment.commit)\(deployment.ref.map { " (\($0))" } ?? "")"],
                ["", mask(deployment.subject).withoutControls + " — " + mask(deployment.author).withoutControls],
                ["previous", deployment.previousCommit ?? "none"],
                ["trigger", "\(deployment.trigger.rawValue), attempt \(deployment.attempt)"],
                ["started", deployment.startedAt.rfc3339],
                ["took", took(deployment.startedAt, deployment.completedAt)],
            ]
            if let tasks = deployment.tasks {
                rows.append(["tasks", "ran: \(tasks.ran), skipped: \(tasks.skipped), failed: \(tasks.failed)"])
                if let error = tasks.error { rows.append(["", mask(error).withoutControls]) }
            }
            if let message = deployment.errorMessage { rows.append(["error", mask(message).withoutControls]) }
            printLine(mask(table(rows)))
            for run in try await reader.runs(of: deployment) {
                printLine("")
                try await show(run, reader, session)
            }
            return .success
        }
    }

    private func show(_ run: Run, _ reader: RecordReader, _ session: AgentSession) async throws {
        let mask = session.log.mask
        var rows = [
            [
                "run \(run.id)",
                run.kind == .task
                    ? "task \(run.name): \(run.status.rawValue)"
                    : "\(run.name): \(run.status.rawValue) (\(run.mode))",
            ],
            ["command", mask(run.command).withoutControls], ["folder", run.folder],
            [
                "took",
                "\(took(run.startedAt, run.completedAt)) of at most \(took(Timestamp(milliseconds: 0), Timestamp(milliseconds: run.timeout.wholeMilliseconds)))",
            ],
        ]
        if let reach = reach(run) { rows.insert(["scope", reach], at: 1) }
        if let code = run.exitCode { rows.append(["exit code", "\(code)"]) }
        if let signal = run.signal { rows.append(["signal", "\(signal)"]) }
        if let commit = run.hookCommit { rows.append(["hook commit", commit]) }
        if let message = run.errorMessage {
            rows.append([run.status == .skipped ? "reason" : "error", mask(message).withoutControls])
        }
        if let log = reader.logPath(run) { rows.append(["log", log]) }
        printLine(mask(table(rows)))
        for line in mask(try await reader.outputTail(run)).split(separator: "\n").suffix(10) {
            printLine("  | \(String(line).withoutControls)")
        }
    }
}

import ArgumentParser
import DeployAgent
import Ledger
import Log
import Settings

/// `agent tasks run`: runs tasks now.
struct TasksRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the tasks that are due, or those that are named, now.",
        discussion: """
            May be run beside an agent: a task that runs there is waited for, not run twice. One that is named runs also when \
            its retries are used up; one that is done does not. Ends with 1 when a task failed, with 69 when the record \
            cannot be reached, with 75 when a named task is not done since it runs elsewhere or asks to be tried later.

            Example:
              agent tasks run
              agent tasks run drop-lineup-columns-v1
            """)

    @Argument(help: ArgumentHelp("Tasks to run; all that are due without any.", valueName: "id"))
    var ids: [String] = []

    @Flag(help: "Say what would be run, and run nothing.")
    var dryRun = false

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    private struct Report: Encodable {
        var ran: Int
        var skipped: Int
        var failed: Int
        var error: String?
        var tasks: [TaskView]

        enum CodingKeys: CodingKey { case ran, skipped, failed, error, tasks }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(ran, forKey: .ran)
            try container.encode(skipped, forKey: .skipped)
            try container.encode(failed, forKey: .failed)
            try container.encode(error, forKey: .error)
            try container.encode(tasks, forKey: .tasks)
        }
    }

    func run() async throws {
        try await common.session { session, reporter in
            if dryRun {
                let reader = try await TaskReader(session: session)
                if let lack = reader.lack { reporter.say(lack) }
                let tasks = try await reader.due(ids)
                if json {
                    try printJSON(tasks)
                } else if tasks.isEmpty {
                    printLine("nothing to run")
                } else {
                    for task in tasks {
                        printLine(session.log.mask("\(task.record.id): \(task.task?.run ?? "")").withoutControls)
                    }
                }
                return .success
            }
            let ledger = try session.openLedger()
            defer { ledger.close() }
            let service = try await TaskRunByHand(session: session, ledger, ids: ids)
            try await session.serve(service)
            let counts = service.counts ?? TaskCounts()
            let tasks = try await service.views()
            if json {
                try printJSON(
                    Report(
                        ran: counts.ran, skipped: counts.skipped, failed: counts.failed,
                        error: counts.error.map(session.log.mask), tasks: tasks))
            } else {
                printLine("ran: \(counts.ran), skipped: \(counts.skipped), failed: \(counts.failed)")
            }
            if counts.failed > 0 { return .failure }
            if counts.error != nil { return .unavailable }
            let left = tasks.contains { !$0.record.isDone && (!ids.isEmpty || !$0.isUsedUp) }
            return left ? .temporary : .success
        }
    }
}

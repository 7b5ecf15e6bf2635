import ArgumentParser
import DeployAgent
import Ledger
import Log
import Settings

/// `agent tasks list`: how things stand with each task.
struct TasksListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the tasks of the workspace's commit, and those that only the record knows.",
        discussion: """
            STATUS is pending, running, done, failed, gone (no longer in the file) or changed (since it was done).

            Example:
              agent tasks list --workspace /srv/shop
            """)

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, reporter in
            let reader = try await TaskReader(session: session)
            if let lack = reader.lack { reporter.say(lack) }
            let tasks = try await reader.list()
            if json {
                try printJSON(tasks)
            } else if tasks.isEmpty {
                printLine("no tasks: \(reader.fileName) has none, and the record knows of none")
            } else {
                printTasks(tasks, mask: session.log.mask)
            }
            return .success
        }
    }
}

/// A table of tasks.
func printTasks(_ tasks: [TaskView], mask: (String) -> String) {
    let rows: [[String]] = tasks.map { task in
        let record = task.record
        let attempt = record.outcome?.attempt
        let ended = record.completedAt ?? record.run?.completedAt
        return [
            record.id, task.status.rawValue, task.task?.when.rawValue ?? "", ended.map { relative($0) } ?? "",
            attempt?.host ?? "", String((attempt?.commit ?? "").prefix(7)), record.run.map { "\($0.id)" } ?? "",
            task.detail,
        ]
    }
    let titles = ["TASK", "STATUS", "WHEN", "ENDED", "HOST", "COMMIT", "RUN", ""]
    printLine(mask(table([titles] + rows.map { $0.map(\.withoutControls) })))
}

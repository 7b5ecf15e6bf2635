import ArgumentParser
import DeployAgent

/// `agent tasks retry`: makes a failed task due again.
struct TasksRetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Make a failed task due again, also when its retries are used up.",
        discussion: """
            It runs at the next deployment or start; SIGHUP makes a running agent look at once. Who did so, and when, is recorded.

            Example:
              agent tasks retry drop-lineup-columns-v1
            """)

    @Argument(help: "The task's id.")
    var id: String

    @Flag(help: "Print the task as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.act(id, json: json, said: "is due again at the next deployment or start") { desk in
            try await desk.retry(id)
        }
    }
}

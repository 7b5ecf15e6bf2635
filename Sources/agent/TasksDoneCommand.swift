import ArgumentParser
import DeployAgent

/// `agent tasks done`: notes a task as done.
struct TasksDoneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "done",
        abstract: "Mark a task as done without running it.",
        discussion: """
            For what was done by hand or by another program. Who did so, and when, is recorded.

            Example:
              agent tasks done drop-lineup-columns-v1
            """)

    @Argument(help: "The task's id.")
    var id: String

    @Flag(help: "Mark it although neither file nor record knows it: one that a later commit brings.")
    var yes = false

    @Flag(help: "Print the task as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.act(id, json: json, said: "is done and does not run", runsAgain: false) { desk in
            try await desk.markDone(id, evenIfUnknown: yes)
        }
    }
}

import ArgumentParser

/// `agent tasks`: the one-time tasks of deploy.yaml.
struct TasksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tasks",
        abstract: "List one-time tasks, run them, or say what is to become of one.",
        discussion: """
            Example:
              agent tasks
              agent tasks run --dry-run
            """,
        subcommands: [
            TasksListCommand.self, TasksRunCommand.self, TasksDoneCommand.self, TasksRetryCommand.self,
            TasksResetCommand.self,
        ], defaultSubcommand: TasksListCommand.self)
}

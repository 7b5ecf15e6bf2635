import ArgumentParser
import DeployAgent
import Execution
import Settings

/// The `agent` command: nothing but its subcommands.
struct AgentCommand: AsyncParsableCommand {
    static let version = AgentVersion.current

    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract:
            "Watches a git commit, runs your PRE_DEPLOY and POST_DEPLOY commands when it changes, and keeps a record.",
        discussion: """
            Settings come from options, then the environment, then appspec.yaml. `agent check` shows them all.

            Example:
              PRE_DEPLOY_COMMAND='bash migrate.sh' agent run-once --workspace /srv/app

            Exit codes: 0 done or nothing to do, 1 the deployment failed, 64 usage, 69 remote or ledger unreachable, \
            75 busy or deferred, 78 configuration.
            """,
        version: version,
        subcommands: [
            RunCommand.self, RunOnceCommand.self, ExecCommand.self, StatusCommand.self, HistoryCommand.self,
            ShowCommand.self, LogsCommand.self, TasksCommand.self, FleetCommand.self, RetryCommand.self,
            RollbackCommand.self,
            CheckCommand.self, LedgerCommand.self,
        ])
}

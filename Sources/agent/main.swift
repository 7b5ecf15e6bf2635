import ArgumentParser
import CAgentShims

// Before any thread starts: a log that nobody reads, or a full quota, must not end the agent.
agent_ignore_write_signals()

/// An async function, so that the parser's asynchronous entry point is chosen.
func start() async {
    await AgentCommand.main(nil)
}
await start()

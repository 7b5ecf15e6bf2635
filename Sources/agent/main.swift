import ArgumentParser
import CAgentShims

// Before any thread starts and any file is opened.
agent_carry_on_as_child_of_init()
agent_prepare_process(CommandLine.arguments.dropFirst().first == "run" ? 1 : 0)
QuietExecutor.install()

/// An async function, so that the parser's asynchronous entry point is chosen.
func start() async {
    await AgentCommand.main(nil)
}
await start()

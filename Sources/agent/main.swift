import ArgumentParser
import CAgentShims
import DeployAgent
import Glibc
import Settings
import Shell

// Before any thread starts and any file is opened.
agent_take_signals()
agent_carry_on_as_child_of_init()
agent_prepare_process(CommandLine.arguments.dropFirst().first == "run" ? 1 : 0)
if CommandLine.arguments.dropFirst().first == RunGuard.word {
    RunGuard.serve(Array(CommandLine.arguments.dropFirst(2)))
}
let failure = QuietExecutor.install()
guard failure == 0 else {
    let text = "agent: cannot start: no thread: \(String(cString: strerror(failure)))\n"
    _ = text.withCString { write(2, $0, strlen($0)) }
    end(71)
}

func start() async {
    do {
        var command = try AgentCommand.parseAsRoot()
        if var asynchronous = command as? any AsyncParsableCommand {
            try await asynchronous.run()
        } else {
            try command.run()
        }
    } catch  where AgentCommand.exitCode(for: error) == .validationFailure {
        // The parser repeats what is wrong, which may hold a password.
        var held = Setting.all.filter(\.isSecret).compactMap { getenv($0.name).map { String(cString: $0) } }
        for argument in CommandLine.arguments where LedgerAddress.mayHidePassword(argument) {
            held += [argument, String(argument.drop { $0 != "=" }.dropFirst())]
        }
        let message = AgentCommand.withNearSubcommand(
            AgentCommand.fullMessage(for: error), CommandLine.arguments.dropFirst())
        // Empty where the command has said itself what is wrong.
        let text = message.isEmpty ? "" : Secrets(held).mask(message) + "\n"
        _ = text.withCString { write(2, $0, strlen($0)) }
        end(ExitCode.validationFailure.rawValue)
    } catch {
        let code = AgentCommand.exitCode(for: error).rawValue
        let message = AgentCommand.fullMessage(for: error)
        // What was asked for, as `--help`, is no error.
        if !message.isEmpty { _ = (message + "\n").withCString { write(code == 0 ? 1 : 2, $0, strlen($0)) } }
        end(code)
    }
}
Task.detached {
    await start()
    end(0)
}
ProcessSignals.take()

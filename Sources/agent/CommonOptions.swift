import ArgumentParser
import DeployAgent
import Foundation
import Ledger

/// Options that every command takes; each wins over the variable of the same meaning.
struct CommonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The directory with the app's checkout (WORKSPACE_PATH).", valueName: "path"),
        completion: .directory)
    var workspace: String?

    @Option(
        help: ArgumentHelp("The app spec (AGENT_APPSPEC).", valueName: "path"),
        completion: .file(extensions: ["yaml", "yml"]))
    var appspec: String?

    @Option(
        help: ArgumentHelp("Where locks, logs and the embedded ledger are (AGENT_STATE_DIR).", valueName: "path"),
        completion: .directory)
    var stateDir: String?

    @Option(help: ArgumentHelp("The record, as sqlite:PATH (AGENT_LEDGER_URL).", valueName: "url"))
    var ledger: String?

    @Option(
        help: ArgumentHelp("text or json (AGENT_LOG_FORMAT).", valueName: "format"),
        completion: .list(["text", "json"]))
    var logFormat: String?

    @Option(
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical (AGENT_LOG_LEVEL).", valueName: "level"),
        completion: .list(["trace", "debug", "info", "notice", "warning", "error", "critical"]))
    var logLevel: String?

    var origin: SettingsOrigin {
        let options = [
            "WORKSPACE_PATH": workspace, "AGENT_APPSPEC": appspec, "AGENT_STATE_DIR": stateDir,
            "AGENT_LEDGER_URL": ledger,
            "AGENT_LOG_FORMAT": logFormat, "AGENT_LOG_LEVEL": logLevel,
        ]
        return SettingsOrigin(options: options.compactMapValues { $0 }, environment: .current)
    }

    /// Runs a command's body, says on standard error what went wrong, and ends with the exit code that goes with it.
    func session(_ body: (AgentSession) async throws -> ExitCode) async throws {
        let reporter = ErrorReporter(origin: origin)
        do {
            let code = try await body(try await AgentSession(origin: origin))
            if code != .success { throw code }
        } catch let code as ExitCode {
            throw code
        } catch {
            throw reporter.report(error)
        }
    }
}

/// The agent's exit codes (sysexits.h where it has one).
extension ExitCode {
    static let deploymentFailed = ExitCode(1)
    static let notFound = ExitCode(1)
    static let unavailable = ExitCode(69)
    static let temporary = ExitCode(75)
    static let configuration = ExitCode(78)
}

/// Says on standard error what went wrong, in the log's format.
struct ErrorReporter {
    let origin: SettingsOrigin

    /// - Returns: the exit code that goes with the error.
    func report(_ error: any Error) -> ExitCode {
        switch error {
        case let error as SettingsError:
            for line in error.description.split(separator: "\n") { say(String(line)) }
            return .configuration
        case let error as LedgerError:
            say(error.description)
            return .unavailable
        default:
            say("\(error)")
            return .failure
        }
    }

    func say(_ message: String) {
        let format = origin.options["AGENT_LOG_FORMAT"] ?? origin.environment["AGENT_LOG_FORMAT"]
        guard format?.lowercased() == "json" else {
            _ = "agent: \(message)\n".withCString { Foundation.write(2, $0, strlen($0)) }
            return
        }
        LogOutput.sayJSON(message)
    }
}

import ArgumentParser
import DeployAgent
import Foundation
import Ledger
import Log
import Settings
import Shell

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

    @Option(help: ArgumentHelp("The record, as sqlite:PATH or postgresql://… (AGENT_LEDGER_URL).", valueName: "url"))
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
    ///
    /// - Parameter onError: runs before that; for a document that is due on standard output all the same.
    func session(
        onError: (any Error) throws -> Void = { _ in }, _ body: (AgentSession, ErrorReporter) async throws -> ExitCode
    ) async throws {
        var reporter = ErrorReporter(origin: origin)
        do {
            let session = try await AgentSession(origin: origin)
            reporter.isJSON = session.settings.logFormat == .json
            let code = try await body(session, reporter)
            if code != .success { throw code }
        } catch let code as ExitCode {
            throw code
        } catch {
            try onError(error)
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

    /// What a command ends with that could not use the record.
    static func of(_ error: LedgerError) -> ExitCode { error.code == .unsuitable ? configuration : unavailable }
}

/// Says on standard error what went wrong, in the log's format.
struct ErrorReporter {
    /// Until the settings are read: as far as option and environment tell.
    var isJSON: Bool

    init(origin: SettingsOrigin) {
        let format = origin.options["AGENT_LOG_FORMAT"] ?? origin.environment["AGENT_LOG_FORMAT"] ?? ""
        isJSON = format.lowercased().trimmingCharacters(in: .whitespaces) == "json"
    }

    /// - Returns: the exit code that goes with the error.
    func report(_ error: any Error) -> ExitCode {
        switch error {
        case let error as SettingsError:
            for line in error.description.split(separator: "\n") { say(String(line)) }
            for nearMiss in error.nearMisses { say(nearMiss, isWarning: true) }
            return .configuration
        case let error as LedgerError:
            say(error.description)
            return .of(error)
        default:
            say("\(error)")
            return .failure
        }
    }

    func say(_ message: String, isWarning: Bool = false) {
        if isJSON {
            LogOutput.sayJSON(message, isWarning: isWarning)
        } else {
            _ = "agent: \(isWarning ? "warning: " : "")\(message)\n".withCString { Foundation.write(2, $0, strlen($0)) }
        }
    }
}

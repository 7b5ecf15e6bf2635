import AgentHTTP
import ArgumentParser
import DeployAgent
import Ledger
import Settings

/// `agent run-once`: one check, then an exit code.
struct RunOnceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run-once",
        abstract: "Make one check, deploy if the commit is due, and exit.",
        discussion: """
            Ignores the backoff of a failed commit. Ends with 0 deployed or nothing to do, 1 the deployment failed, 69 remote or \
            ledger unreachable, 75 busy or deferred, 78 configuration.

            Example:
              agent run-once --workspace /srv/shop --json
            """)

    @Flag(help: "Deploy although the commit is settled.")
    var force = false

    @Flag(help: "Print the outcome as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let onError = { (error: any Error) in if json { try printJSON(OutcomeView(error: error)) } }
        try await common.session(onError: onError) { session, reporter in
            let ledger: any LedgerStore
            do {
                ledger = try session.openLedger()
            } catch let error as LedgerError {
                if json { try printJSON(OutcomeView(error: error)) }
                return reporter.report(error)
            }
            defer { ledger.close() }
            let inForce = InForce(session.settings, ledger)
            let check = OneCheck(
                session: session, inForce: inForce,
                notifier: Notifier(session: session, inForce: inForce, send: NotificationSender.send), isForced: force)
            try await session.serve(check)
            switch check.result {
            case .busy(let holder):
                reporter.say(
                    "\(holder?.holder ?? "another agent") works on \(session.settings.workspace); try again later")
                if json { try printJSON(OutcomeView(outcome: "busy", deployment: nil)) }
                return .temporary
            case .checked(let outcome):
                return try await report(
                    outcome, check, RecordReader(session: session, inForce), reporter)
            case nil:
                return .failure
            }
        }
    }

    private func report(
        _ outcome: CheckOutcome, _ check: OneCheck, _ reader: RecordReader, _ reporter: ErrorReporter
    ) async throws -> ExitCode {
        let tasks = check.tasks.map(reader.view)
        if case .misconfigured(let error) = outcome { throw error }
        if case .deployment(let deployment) = outcome {
            if json {
                try printJSON(
                    OutcomeView(
                        outcome: outcome.name, deployment: try await view(deployment, reader, reporter), tasks: tasks))
            } else {
                printLine(
                    "\(outcome.name) \(deployment.commit.prefix(7)) in \(took(deployment.startedAt, deployment.completedAt)) (deployment \(deployment.id))"
                )
            }
            switch deployment.status {
            case .succeeded: return .success
            // Ended in order when it was asked to; else (a lease was lost) it is due again and nobody has deployed it.
            case .interrupted: return check.wasStopped ? .success : .temporary
            case .deferred: return .temporary
            case .failed, .running: return .deploymentFailed
            }
        }
        if json {
            try printJSON(
                OutcomeView(
                    outcome: outcome.name, deployment: nil, tasks: tasks,
                    errorMessage: outcome.errorKind == nil ? nil : outcome.problem, errorKind: outcome.errorKind))
        }
        switch outcome {
        case .unchanged(let commit, let detail):
            if let problem = outcome.problem {
                reporter.say("\(problem); `agent retry` makes it due again")
            } else if !json, detail == .deployed {
                printLine("unchanged: \(commit.prefix(7)) is deployed")
            }
            return .success
        case .stopped:
            reporter.say("stopped before there was a deployment")
            return .success
        case .unreachable(let problem, .permanent, _):
            reporter.say("\(problem); waiting does not help")
            return .configuration
        case .unreachable(let problem, .transient, _), .ledgerFailed(let problem, _):
            reporter.say(problem)
            return .unavailable
        default:
            reporter.say(outcome.problem ?? outcome.name)
            return .deploymentFailed
        }
    }

    /// The record may be out of reach by now: what came of the deployment is known all the same.
    private func view(
        _ deployment: Deployment, _ reader: RecordReader, _ reporter: ErrorReporter
    ) async throws -> DeploymentView {
        do {
            return try await reader.viewWithRuns(deployment)
        } catch let error as LedgerError {
            reporter.say("\(error); its runs are not shown")
            return reader.viewWithoutRuns(deployment)
        }
    }
}

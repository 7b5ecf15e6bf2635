import AgentHTTP
import ArgumentParser
import DeployAgent
import Ledger

/// `agent rollback`: publishes an earlier commit.
struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Publish the last successful commit before the current one, or another one.",
        discussion: """
            POST_DEPLOY runs, PRE_DEPLOY only with --with-pre. The commit rolled back from is held: no check deploys it again until \
            the followed ref moves on, or `agent retry`. Where an agent works on the workspace it does the rollback, after what \
            it is doing. Ends as run-once does.

            Example:
              agent rollback
              agent rollback 3f2a9c1 --with-pre
            """)

    @Argument(help: "The beginning of the id of a commit that was deployed here, or a full id.")
    var commit: String?

    @Flag(help: "Run PRE_DEPLOY too.")
    var withPre = false

    @Flag(help: "Print the outcome as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let onError = { (error: any Error) in if json { try printJSON(OutcomeView(error: error)) } }
        try await common.session(onError: onError) { session, reporter in
            let ledger = try session.openLedger(deploys: false)
            defer { ledger.close() }
            let inForce = InForce(session.settings, ledger)
            let service: Rollback
            do {
                service = try await Rollback(
                    session: session, inForce: inForce,
                    notifier: Notifier(session: session, inForce: inForce, send: NotificationSender.send),
                    commit: commit,
                    withPre: withPre)
            } catch let refusal as Rollback.Refusal {
                reporter.say("nothing was rolled back: \(refusal)")
                if json {
                    try printJSON(
                        OutcomeView(
                            outcome: "failed", deployment: nil, errorMessage: "\(refusal)", errorKind: .permanent))
                }
                return .notFound
            }
            try await session.serve(service)
            return try await report(service, RecordReader(session: session, inForce), reporter)
        }
    }

    private func report(_ service: Rollback, _ reader: RecordReader, _ reporter: ErrorReporter) async throws -> ExitCode
    {
        guard let outcome = service.outcome else {
            reporter.say(
                service.wasStopped
                    ? "stopped before there was a rollback" : "the agent at work could not roll back; its log says why")
            if json { try printJSON(OutcomeView(outcome: "failed", deployment: nil)) }
            return service.wasStopped ? .success : .deploymentFailed
        }
        if case .misconfigured(let error) = outcome { throw error }
        guard case .deployment(let deployment) = outcome else {
            reporter.say(outcome.problem ?? outcome.name)
            if json {
                try printJSON(
                    OutcomeView(
                        outcome: outcome.name, deployment: nil, errorMessage: outcome.problem,
                        errorKind: outcome.errorKind))
            }
            if case .failed = outcome { return .deploymentFailed }
            if case .unreachable(_, .permanent, _) = outcome { return .configuration }
            return .unavailable
        }
        if json {
            try printJSON(
                OutcomeView(
                    outcome: outcome.name, deployment: try await reader.viewWithRuns(deployment),
                    tasks: deployment.tasks.map(reader.view)))
        } else if deployment.status == .running {
            reporter.say("the agent at work carries it out (deployment \(deployment.id))")
        } else if deployment.status == .succeeded {
            printLine("rolled back to \(deployment.commit.prefix(7)) (deployment \(deployment.id))")
            if let held = deployment.held {
                printLine("\(held.prefix(7)) is held until the ref moves on; `agent retry` deploys it again")
            }
        } else {
            reporter.say(
                "the rollback to \(deployment.commit.prefix(7)) \(deployment.status.rawValue): \(deployment.errorMessage ?? "")"
            )
        }
        switch deployment.status {
        case .succeeded: return .success
        case .interrupted: return service.wasStopped ? .success : .temporary
        case .deferred, .running: return .temporary
        case .failed: return .deploymentFailed
        }
    }
}

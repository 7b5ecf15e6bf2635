import ArgumentParser
import DeployAgent
import Ledger

/// `agent history`: deployments, newest first.
struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "List deployments, newest first.",
        discussion: """
            Example:
              agent history --limit 5 --status failed
            """)

    @Option(help: ArgumentHelp("How many to list.", valueName: "n"))
    var limit = 20

    @Option(help: ArgumentHelp("Only deployments of this commit, given by the beginning of its id.", valueName: "sha"))
    var commit: String?

    @Option(
        help: ArgumentHelp(
            "Only deployments with this status: running, succeeded, failed, interrupted or deferred.",
            valueName: "status"),
        completion: .list(DeploymentStatus.allCases.map(\.rawValue)))
    var status: String?

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard limit >= 1 else { throw ValidationError("--limit takes a whole number from 1 on") }
        if let status, DeploymentStatus(rawValue: status) == nil {
            throw ValidationError(
                "--status \"\(status)\" is not known; it takes \(DeploymentStatus.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
    }

    func run() async throws {
        try await common.session { session, _ in
            let reader = try await RecordReader(session: session)
            let deployments = try await reader.history(
                limit: limit, commit: commit, status: status.flatMap(DeploymentStatus.init(rawValue:)))
            if json {
                try printJSON(deployments.map(reader.view))
            } else if deployments.isEmpty {
                printLine("no deployments in the record")
            } else {
                printLine(
                    table(
                        [["ID", "STATUS", "COMMIT", "STARTED", "TOOK", "TRIGGER", "TRY", "SUBJECT"]]
                            + deployments.map { deployment in
                                [
                                    "\(deployment.id)",
                                    deployment.status.rawValue + (deployment.warnings > 0 ? "!" : ""),
                                    String(deployment.commit.prefix(7)), deployment.startedAt.rfc3339,
                                    took(deployment.startedAt, deployment.completedAt), deployment.trigger,
                                    "\(deployment.attempt)",
                                    session.log.mask(deployment.subject).withoutControls,
                                ]
                            }))
            }
            return .success
        }
    }
}

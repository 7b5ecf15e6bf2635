import ArgumentParser
import DeployAgent
import Ledger
import Log

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

    @Flag(help: "List the app's deployments on every host that shares the ledger.")
    var allHosts = false

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
                limit: limit, commit: commit, status: status.flatMap(DeploymentStatus.init(rawValue:)),
                allHosts: allHosts)
            if json {
                try printJSON(deployments.map(reader.view))
            } else if deployments.isEmpty {
                printLine("no deployments in the record")
            } else {
                let mask = session.log.mask
                func row(_ id: String, host: String, _ others: [String]) -> [String] {
                    (allHosts ? [id, host] : [id]) + others
                }
                let titles = row(
                    "ID", host: "HOST", ["STATUS", "COMMIT", "STARTED", "TOOK", "TRIGGER", "TRY", "SUBJECT"])
                let rows = deployments.map { deployment in
                    row(
                        "\(deployment.id)", host: mask(deployment.scope.host).withoutControls,
                        [
                            deployment.status.rawValue + (deployment.warnings > 0 ? "!" : ""),
                            String(deployment.commit.prefix(7)), deployment.startedAt.rfc3339,
                            took(deployment.startedAt, deployment.completedAt), deployment.trigger.rawValue,
                            "\(deployment.attempt)", mask(deployment.subject).withoutControls,
                        ])
                }
                printLine(table([titles] + rows))
            }
            return .success
        }
    }
}

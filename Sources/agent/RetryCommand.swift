import ArgumentParser
import DeployAgent
import Ledger

/// `agent retry`: makes a failed commit due again.
struct RetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Make a failed commit due again.",
        discussion: """
            The next check deploys it, if the followed ref still points to it. SIGHUP makes a running agent check at once.

            Example:
              agent retry
              agent retry 3f2a9c1
            """)

    @Argument(help: "The beginning of the commit's id; without it the last deployment's.")
    var commit: String?

    @Flag(help: "Print the deployment as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, reporter in
            let reader = try await RecordReader(session: session)
            guard let deployment = try await reader.retry(commit) else {
                let what =
                    commit.map { "commit \"\($0)\" has no failed deployment" } ?? "the last deployment did not fail"
                reporter.say(
                    "nothing to retry: \(what); `agent run-once --force` deploys a settled commit again")
                return .notFound
            }
            if json {
                let again = try await reader.find("\(deployment.id)") ?? deployment
                try printJSON(reader.view(again))
            } else {
                let when =
                    session.lockHolder().flatMap { holder in
                        holder.nextCheck.map {
                            "the agent checks \(relative($0)); kill -HUP \(holder.pid) checks at once"
                        }
                    } ?? "the next check deploys it"
                printLine("\(deployment.commit.prefix(7)) is due again: \(when)")
            }
            return .success
        }
    }
}

import ArgumentParser
import DeployAgent
import Ledger
import Log

/// `agent status`: how things stand.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the commit, the last deployment, the next check, and who holds the lock.",
        discussion: """
            Example:
              agent status --workspace /srv/shop
            """)

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, _ in
            let reader = try await RecordReader(session: session)
            let status = try await reader.status()
            if json {
                try printJSON(status)
                return .success
            }
            var rows = [
                ["app", "\(status.scope.app) on \(status.scope.host)"],
                ["workspace", status.scope.workspace],
                ["commit", status.commit.map { String($0.prefix(12)) } ?? "none yet"],
            ]
            let last = try await reader.history(limit: 1, commit: nil, status: nil).first
            if let last {
                rows.append([
                    "deployment",
                    "\(last.id): \(state(last, held: status.holder != nil)), \(last.commit.prefix(7)) \"\(last.subject.withoutControls)\", \(relative(last.completedAt ?? last.startedAt))",
                ])
                if let held = status.heldCommit {
                    rows.append(["held", "\(held.prefix(12)) was rolled back from; `agent retry` deploys it again"])
                }
                if let message = last.errorMessage { rows.append(["", message.withoutControls]) }
                if let retry = last.retryAt, !last.settled { rows.append(["", "next attempt \(relative(retry))"]) }
                for run in try await reader.runs(of: last) {
                    rows.append([
                        "  run \(run.id)",
                        "\(run.name) \(run.status.rawValue)\(run.exitCode.map { " (exit code \($0))" } ?? ""), \(took(run.startedAt, run.completedAt))\(reach(run).map { ", \($0)" } ?? "")",
                    ])
                }
            } else {
                rows.append(["deployment", "none in the record"])
            }
            rows.append(["agent", status.holder?.holder ?? "no agent works on this workspace now"])
            if let last = status.last, let check = last.lastCheck {
                rows.append(["last check", "\(relative(check)): \(last.lastOutcome ?? "")"])
                if let problem = last.lastError { rows.append(["", problem.withoutControls]) }
                if last.lastErrorKind == .permanent { rows.append(["", "waiting does not help against this"]) }
            }
            if let next = status.holder?.nextCheck { rows.append(["next check", relative(next)]) }
            rows.append(["ledger", status.ledger])
            printLine(session.log.mask(table(rows)))
            return .success
        }
    }

    private func state(_ deployment: Deployment, held: Bool) -> String {
        if deployment.status == .running && !held { return "running when its agent was killed" }
        let warnings =
            deployment.warnings == 0 ? "" : " with \(deployment.warnings) warning\(deployment.warnings == 1 ? "" : "s")"
        return deployment.status.rawValue + warnings
            + (deployment.status == .failed && deployment.settled ? ", no further attempt" : "")
    }
}

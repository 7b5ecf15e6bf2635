import GRDB
import Ledger

extension Deployment {
    /// Reads a row of `deployments`; an unknown status, written by a later version, reads as `failed`.
    init(row: Row) {
        self.init(
            id: row["id"],
            scope: Scope(app: row["app"], host: row["host"], workspace: row["workspace"]),
            commit: row["commit_id"],
            subject: row["subject"],
            author: row["author"],
            ref: row["ref"],
            previousCommit: row["previous_commit"],
            trigger: row["trigger_name"],
            attempt: row["attempt"],
            series: row["series"],
            status: DeploymentStatus(rawValue: row["status"]) ?? .failed,
            settled: row["settled"],
            published: row["published"],
            retryAt: (row["retry_at"] as Int64?).map(Timestamp.init(milliseconds:)),
            warnings: row["warnings"],
            startedAt: Timestamp(milliseconds: row["started_at"]),
            completedAt: (row["completed_at"] as Int64?).map(Timestamp.init(milliseconds:)),
            errorMessage: row["error_message"]
        )
    }
}

extension Run {
    /// Reads a row of `runs`.
    init(row: Row) {
        self.init(
            id: row["id"],
            kind: RunKind(rawValue: row["kind"]) ?? .hook,
            name: row["name"],
            parent: row["parent"],
            marker: row["marker"],
            command: row["command"],
            folder: row["folder"],
            mode: row["mode"],
            timeout: .milliseconds(row["timeout_ms"] as Int64),
            attempt: row["attempt"],
            status: RunStatus(rawValue: row["status"]) ?? .failed,
            exitCode: row["exit_code"],
            signal: row["signal"],
            startedAt: Timestamp(milliseconds: row["started_at"]),
            completedAt: (row["completed_at"] as Int64?).map(Timestamp.init(milliseconds:)),
            outputTail: row["output_tail"],
            errorMessage: row["error_message"]
        )
    }
}

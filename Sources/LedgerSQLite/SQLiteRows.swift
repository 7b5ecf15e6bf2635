import GRDB
import Ledger

extension Deployment {
    /// The columns in the order in which `init(row:)` reads them: by position, since GRDB compares names without regard
    /// to case, which costs more than the query.
    static let columns = """
        id, app, host, workspace, commit_id, subject, author, ref, previous_commit, trigger_name, attempt, series, status, \
        settled, published, retry_at, warnings, started_at, completed_at, error_message, tasks_ran, tasks_skipped, \
        tasks_failed, tasks_error, held, with_pre
        """

    /// Reads a row of `deployments`; an unknown status, written by a later version, reads as `failed`.
    init(row: Row) {
        self.init(
            id: row[0], scope: Scope(app: row[1], host: row[2], workspace: row[3]), commit: row[4], subject: row[5],
            author: row[6], ref: row[7], previousCommit: row[8], trigger: row[9], attempt: row[10], series: row[11],
            status: DeploymentStatus(rawValue: row[12]) ?? .failed, settled: row[13], published: row[14],
            retryAt: (row[15] as Int64?).map(Timestamp.init(milliseconds:)), warnings: row[16],
            startedAt: Timestamp(milliseconds: row[17]),
            completedAt: (row[18] as Int64?).map(Timestamp.init(milliseconds:)), errorMessage: row[19],
            tasks: (row[20] as Int?).map { TaskCounts(ran: $0, skipped: row[21], failed: row[22], error: row[23]) },
            held: row[24], withPre: row[25])
    }
}

extension Run {
    /// The columns in the order in which `init(row:)` reads them.
    static let columns = """
        runs.id, runs.kind, runs.name, runs.parent, runs.marker, runs.command, runs.folder, runs.mode, runs.timeout_ms, \
        runs.attempt, runs.status, runs.exit_code, runs.signal, runs.started_at, runs.completed_at, runs.output_tail, \
        runs.error_message, runs.scope, runs.fence, runs.adopted, runs.digest, runs.hook_commit
        """

    /// Reads a row of `runs`.
    init(row: Row) {
        self.init(
            id: row[0], kind: RunKind(rawValue: row[1]) ?? .hook, name: row[2], parent: row[3], marker: row[4],
            command: row[5], folder: row[6], mode: row[7], timeout: .milliseconds(row[8] as Int64), attempt: row[9],
            status: RunStatus(rawValue: row[10]) ?? .failed, exitCode: row[11], signal: row[12],
            startedAt: Timestamp(milliseconds: row[13]),
            completedAt: (row[14] as Int64?).map(Timestamp.init(milliseconds:)), outputTail: row[15],
            errorMessage: row[16], scope: RunScope(rawValue: row[17]) ?? .host, fence: row[18], adopted: row[19],
            digest: row[20], hookCommit: row[21])
    }
}

extension PendingNotification {
    /// Reads id, deployment, attempts, time of making and time due.
    init(row: Row) {
        self.init(
            id: row[0], deployment: row[1], attempts: row[2], createdAt: Timestamp(milliseconds: row[3]),
            dueAt: Timestamp(milliseconds: row[4]))
    }
}

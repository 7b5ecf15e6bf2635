import Ledger
import Postgres

/// SQL for a time that is given in milliseconds since 1970, as a parameter.
func timestamp(_ parameter: Int) -> String {
    "to_timestamp($\(parameter)::double precision / 1000)"
}

/// SQL for a column's time in milliseconds since 1970.
func milliseconds(_ column: String) -> String {
    "round(extract(epoch FROM \(column)) * 1000)::bigint"
}

extension PostgresValue {
    init(_ time: Timestamp?) { self.init(time?.milliseconds) }
}

extension PostgresRow {
    func time(_ column: Int) throws -> Timestamp {
        Timestamp(milliseconds: try get(column))
    }

    func optionalTime(_ column: Int) throws -> Timestamp? {
        try optional(column, as: Int64.self).map(Timestamp.init(milliseconds:))
    }
}

extension Deployment {
    /// The columns in the order in which `init(row:)` reads them.
    static let columns = """
        deployments.id, app, host, workspace, commit_id, subject, author, ref, previous_commit, trigger_name, attempt, series, \
        status, settled, published, \(milliseconds("retry_at")), warnings, \(milliseconds("started_at")), \
        \(milliseconds("completed_at")), error_message, tasks_ran, tasks_skipped, tasks_failed, tasks_error, held, \
        with_pre
        """

    /// Reads a row of `deployments`; an unknown status, written by a later version, reads as `failed`.
    init(row: PostgresRow) throws {
        self.init(
            id: try row.get(0), scope: Scope(app: try row.get(1), host: try row.get(2), workspace: try row.get(3)),
            commit: try row.get(4), subject: try row.get(5), author: try row.get(6), ref: try row.optional(7),
            previousCommit: try row.optional(8), trigger: try row.get(9), attempt: try row.get(10),
            series: try row.get(11), status: DeploymentStatus(rawValue: try row.get(12)) ?? .failed,
            settled: try row.get(13), published: try row.get(14), retryAt: try row.optionalTime(15),
            warnings: try row.get(16), startedAt: try row.time(17), completedAt: try row.optionalTime(18),
            errorMessage: try row.optional(19),
            tasks: try row.optional(20, as: Int.self).map { ran in
                TaskCounts(
                    ran: ran, skipped: try row.get(21), failed: try row.get(22), error: try row.optional(23))
            }, held: try row.optional(24), withPre: try row.get(25))
    }
}

extension Run {
    /// The columns in the order in which `init(row:)` reads them.
    static let columns = """
        runs.id, runs.kind, runs.name, runs.parent, runs.marker, runs.command, runs.folder, runs.mode, runs.timeout_ms, \
        runs.attempt, runs.status, runs.exit_code, runs.signal, \(milliseconds("runs.started_at")), \
        \(milliseconds("runs.completed_at")), runs.output_tail, runs.error_message, runs.scope, runs.fence, runs.adopted, \
        runs.digest, runs.hook_commit
        """

    /// Reads a row of `runs`.
    init(row: PostgresRow) throws {
        self.init(
            id: try row.get(0), kind: RunKind(rawValue: try row.get(1)) ?? .hook, name: try row.get(2),
            parent: try row.get(3), marker: try row.get(4), command: try row.get(5), folder: try row.get(6),
            mode: try row.get(7), timeout: .milliseconds(try row.get(8, as: Int64.self)), attempt: try row.get(9),
            status: RunStatus(rawValue: try row.get(10)) ?? .failed, exitCode: try row.optional(11),
            signal: try row.optional(12), startedAt: try row.time(13), completedAt: try row.optionalTime(14),
            outputTail: try row.get(15), errorMessage: try row.optional(16),
            scope: RunScope(rawValue: try row.get(17)) ?? .host, fence: try row.optional(18),
            adopted: try row.optional(19), digest: try row.optional(20), hookCommit: try row.optional(21))
    }
}

extension PendingNotification {
    static let columns =
        "notifications.id, deployment, attempts, \(milliseconds("created_at")), \(milliseconds("due_at"))"

    init(row: PostgresRow) throws {
        self.init(
            id: try row.get(0), deployment: try row.get(1), attempts: try row.get(2), createdAt: try row.time(3),
            dueAt: try row.time(4))
    }
}

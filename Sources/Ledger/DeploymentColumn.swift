/// The columns of `deployments`.
package enum DeploymentColumn: Int, RecordColumn {
    case id, app, host, workspace, commitId, subject, author, ref, previousCommit, triggerName, attempt, series
    case startedAt, held, withPre, status, settled, published, retryAt, warnings, completedAt, errorMessage, tasksRan,
        tasksSkipped
    case tasksFailed, tasksError

    package static var table: String { "deployments" }

    package var type: RecordColumnType {
        switch self {
        case .id, .attempt, .series, .warnings, .tasksRan, .tasksSkipped, .tasksFailed: .integer
        case .startedAt, .retryAt, .completedAt: .time
        case .withPre, .settled, .published: .flag
        default: .text
        }
    }
}

extension Deployment {
    /// Reads a row of `deployments`; an unknown status, written by a later version, reads as `failed`.
    package init(row: some RecordRow) throws {
        typealias Column = DeploymentColumn
        func text(_ column: Column) throws -> String { try row.need(row.text(column), column) }
        func integer(_ column: Column) throws -> Int64 { try row.need(row.integer(column), column) }
        let id = try integer(.id)
        let series = try integer(.series)
        let startedAt = try row.need(row.time(Column.startedAt), Column.startedAt)
        let draft = DeploymentDraft(
            scope: Scope(app: try text(.app), host: try text(.host), workspace: try text(.workspace)),
            commit: try text(.commitId), subject: try text(.subject), author: try text(.author),
            ref: try row.text(Column.ref), previousCommit: try row.text(Column.previousCommit),
            trigger: Trigger(rawValue: try text(.triggerName)), attempt: Int(try integer(.attempt)),
            series: series == id ? nil : series, startedAt: startedAt, held: try row.text(Column.held),
            withPre: try row.flag(Column.withPre))
        let status = DeploymentStatus(rawValue: try text(.status)) ?? .failed
        var result: DeploymentResult?
        if status != .running {
            let tasks = try row.number(Column.tasksRan).map { ran in
                TaskCounts(
                    ran: ran, skipped: try row.number(Column.tasksSkipped) ?? 0,
                    failed: try row.number(Column.tasksFailed) ?? 0, error: try row.text(Column.tasksError))
            }
            result = DeploymentResult(
                status: status, settled: try row.flag(Column.settled), retryAt: try row.time(Column.retryAt),
                warnings: Int(try integer(.warnings)), completedAt: try row.time(Column.completedAt) ?? startedAt,
                errorMessage: try row.text(Column.errorMessage), tasks: tasks)
        }
        self.init(id: id, draft: draft, result: result, published: try row.flag(Column.published))
    }

    /// What is written into a column.
    package func value(of column: DeploymentColumn) -> RecordValue {
        switch column {
        case .id: .integer(id)
        case .app: .text(draft.scope.app)
        case .host: .text(draft.scope.host)
        case .workspace: .text(draft.scope.workspace)
        case .commitId: .text(draft.commit)
        case .subject: .text(draft.subject)
        case .author: .text(draft.author)
        case .ref: RecordValue(draft.ref)
        case .previousCommit: RecordValue(draft.previousCommit)
        case .triggerName: .text(draft.trigger.rawValue)
        case .attempt: RecordValue(draft.attempt)
        case .series: .integer(series)
        case .startedAt: .time(draft.startedAt)
        case .held: RecordValue(draft.held)
        case .withPre: .flag(draft.withPre)
        case .status: .text(status.rawValue)
        case .settled: .flag(settled)
        case .published: .flag(published)
        case .retryAt: RecordValue(retryAt)
        case .warnings: RecordValue(warnings)
        case .completedAt: RecordValue(completedAt)
        case .errorMessage: RecordValue(errorMessage)
        case .tasksRan: RecordValue(tasks?.ran)
        case .tasksSkipped: RecordValue(tasks?.skipped)
        case .tasksFailed: RecordValue(tasks?.failed)
        case .tasksError: RecordValue(tasks?.error)
        }
    }
}

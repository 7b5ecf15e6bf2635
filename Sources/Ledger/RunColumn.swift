/// The columns of `runs`.
package enum RunColumn: Int, RecordColumn {
    case id, kind, name, parentKind, parent, app, host, workspace, worker, marker, command, folder, mode, timeoutMs
    case attempt, scope, digest, hookCommit, startedAt, status, exitCode, signal, completedAt, errorMessage, fence
    case isAdopted, adopted, failures

    package static var table: String { "runs" }

    package var type: RecordColumnType {
        switch self {
        case .id, .parent, .timeoutMs, .attempt, .exitCode, .signal, .fence, .adopted, .failures: .integer
        case .startedAt, .completedAt: .time
        case .isAdopted: .flag
        default: .text
        }
    }
}

extension Run {
    /// Reads a row of `runs`; an unknown status, written by a later version, reads as `failed`.
    package init(row: some RecordRow) throws {
        typealias Column = RunColumn
        func text(_ column: Column) throws -> String { try row.need(row.text(column), column) }
        func integer(_ column: Column) throws -> Int64 { try row.need(row.integer(column), column) }
        let startedAt = try row.need(row.time(Column.startedAt), Column.startedAt)
        var parent: RunParent?
        if let kind = try row.text(Column.parentKind), let id = try row.integer(Column.parent) {
            parent = RunParent(kind: .init(rawValue: kind), id: id)
        }
        let draft = RunDraft(
            kind: RunKind(rawValue: try text(.kind)), name: try text(.name), parent: parent,
            place: Scope(app: try text(.app), host: try text(.host), workspace: try text(.workspace)),
            worker: try row.text(Column.worker), marker: try text(.marker), command: try text(.command),
            folder: try text(.folder), mode: try text(.mode), timeout: .milliseconds(try integer(.timeoutMs)),
            attempt: Int(try integer(.attempt)), startedAt: startedAt,
            scope: RunScope(rawValue: try text(.scope)) ?? .host, digest: try row.text(Column.digest),
            hookCommit: try row.text(Column.hookCommit))
        let status = RunStatus(rawValue: try text(.status)) ?? .failed
        var end: RunEnd?
        if status != .running {
            end = RunEnd(
                status: status, exitCode: try row.number(Column.exitCode), signal: try row.number(Column.signal),
                completedAt: try row.time(Column.completedAt) ?? startedAt,
                errorMessage: try row.text(Column.errorMessage))
        }
        self.init(
            id: try integer(.id), draft: draft, end: end, fence: try row.integer(Column.fence),
            isAdopted: try row.flag(Column.isAdopted), adopted: try row.integer(Column.adopted))
    }

    /// What is written into a column.
    package func value(of column: RunColumn, failures: Int = 0) -> RecordValue {
        switch column {
        case .id: .integer(id)
        case .kind: .text(draft.kind.rawValue)
        case .name: .text(draft.name)
        case .parentKind: RecordValue(draft.parent?.kind.rawValue)
        case .parent: RecordValue(draft.parent?.id)
        case .app: .text(draft.place.app)
        case .host: .text(draft.place.host)
        case .workspace: .text(draft.place.workspace)
        case .worker: RecordValue(draft.worker)
        case .marker: .text(draft.marker)
        case .command: .text(draft.command)
        case .folder: .text(draft.folder)
        case .mode: .text(draft.mode)
        case .timeoutMs: .integer(draft.timeout.wholeMilliseconds)
        case .attempt: RecordValue(draft.attempt)
        case .scope: .text(draft.scope.rawValue)
        case .digest: RecordValue(draft.digest)
        case .hookCommit: RecordValue(draft.hookCommit)
        case .startedAt: .time(draft.startedAt)
        case .status: .text(status.rawValue)
        case .exitCode: RecordValue(end?.exitCode)
        case .signal: RecordValue(end?.signal)
        case .completedAt: RecordValue(end?.completedAt)
        case .errorMessage: RecordValue(end?.errorMessage)
        case .fence: RecordValue(fence)
        case .isAdopted: .flag(isAdopted)
        case .adopted: RecordValue(adopted)
        case .failures: RecordValue(failures)
        }
    }
}

extension CopiedRun {
    /// Reads a row of all columns of `runs`, then the original's marker and the tail.
    package init(row: some RecordRow) throws {
        let next = RunColumn.allCases.count
        self.init(
            run: try Run(row: row), outputTail: try row.text(at: next + 1) ?? "",
            failures: try row.number(RunColumn.failures) ?? 0, original: try row.text(at: next))
    }
}

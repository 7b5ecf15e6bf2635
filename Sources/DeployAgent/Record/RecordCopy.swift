import Ledger
import Log
public import Settings
import Shell

/// Copies one record into another.
///
/// It may be repeated: what is there already is passed over, so that an interrupted copy is ended by the next one, and the
/// records of several hosts come together in one.
public struct RecordCopy: Sendable {
    /// Deployments in one transaction: with all of their output a few megabytes.
    static let pageSize = 25

    private let from: LedgerAddress
    private let to: LedgerAddress
    private let secrets: Secrets
    /// Which tasks are done in the record that the settings name; nil for that record's own table.
    private let tasksTable: (ledger: LedgerAddress, name: String?)

    public init(from: LedgerAddress, to: LedgerAddress, session: AgentSession) {
        self.from = from
        self.to = to
        tasksTable = (session.settings.ledger, session.settings.tasksTable)
        var secrets = session.log.secrets
        secrets.insert(from.passwords + to.passwords)
        self.secrets = secrets
    }

    /// A text in which neither record's password is left.
    public func mask(_ text: String) -> String { secrets.mask(text) }

    /// Copies deployments with their runs and notifications, and what is done once with its outcomes.
    ///
    /// - Returns: nil when both are the same record: then nothing was done.
    /// - Throws: `LedgerError`. What was copied until then stays.
    public func run() async throws -> CopyReport? {
        guard !from.isSameFile(as: to) else { return nil }
        guard let source = try await from.openExisting(tasksTable: tasks(in: from)) else {
            throw LedgerError(
                .unreachable, operation: "copy", location: from.description, explanation: "there is no record there")
        }
        defer { source.close() }
        let target = try to.open(tasksTable: tasks(in: to))
        defer { target.close() }
        guard try await source.identity() != target.identity() else { return nil }
        var report = CopyReport(from: from.description, to: to.description)
        try await Self.copy(source, target, &report)
        return report
    }

    private func tasks(in ledger: LedgerAddress) -> String? {
        ledger.isSamePlace(as: tasksTable.ledger) ? tasksTable.name : nil
    }

    /// Copies page by page; what is under way is never more than one page.
    static func copy(
        _ source: any LedgerStore, _ target: any LedgerStore, _ report: inout CopyReport, pageSize: Int = pageSize
    ) async throws {
        var last: Int64 = 0
        var adoptions: [RecordPage.Adoption] = []
        while true {
            var page = try await source.page(after: last, limit: pageSize)
            guard let end = page.entries.last else { break }
            page.adoptions = adoptions
            let addition = try await target.insert(page)
            report.add(page, addition)
            adoptions = addition.adoptions
            last = end.deployment.id
        }
        try await copyRuns(source, target, &report)
        try await target.insert(source.members())
        // After the runs, by whose markers their outcomes are told.
        try await copyOutcomes(source, target)
        try await copyTasks(source, target)
    }

    private static func copyRuns(
        _ source: any LedgerStore, _ target: any LedgerStore, _ report: inout CopyReport
    ) async throws {
        var last: Int64 = 0
        while true {
            let page = try await source.runPage(after: last, limit: 25)
            guard let end = page.runs.last else { return }
            report.runs += try await target.insert(page).runs
            last = end.run.id
        }
    }

    private static func copyOutcomes(_ source: any LedgerStore, _ target: any LedgerStore) async throws {
        var last: Outcome.Key?
        while true {
            let outcomes = try await source.outcomes(after: last, limit: 500)
            guard let end = outcomes.last else { return }
            try await target.insert(outcomes)
            last = end.key
        }
    }

    private static func copyTasks(_ source: any LedgerStore, _ target: any LedgerStore) async throws {
        var last: String?
        while true {
            let tasks = try await source.doneTasks(after: last, limit: 500)
            guard let end = tasks.last else { break }
            try await target.insert(tasks)
            last = end.id
        }
        var number: Int64 = 0
        while true {
            let actions = try await source.taskActions(after: number, limit: 500)
            guard let end = actions.last else { return }
            try await target.insert(actions.map(\.action))
            number = end.number
        }
    }
}

extension CopyReport {
    fileprivate mutating func add(_ page: RecordPage, _ addition: RecordAddition) {
        deployments += addition.deployments
        runs += addition.runs
        notifications += addition.notifications
        skipped += addition.skipped
        leftOut += addition.leftOut
        running += page.entries.count { $0.isRunning }
    }
}

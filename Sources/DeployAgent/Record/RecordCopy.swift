import Ledger
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

    public init(from: LedgerAddress, to: LedgerAddress, session: AgentSession) {
        self.from = from
        self.to = to
        var secrets = session.log.secrets
        secrets.insert(from.passwords + to.passwords)
        self.secrets = secrets
    }

    /// A text in which neither record's password is left.
    public func mask(_ text: String) -> String { secrets.mask(text) }

    /// Copies deployments with their runs and notifications, and, from server to server, what the hosts share.
    ///
    /// - Returns: nil when both are the same record: then nothing was done.
    /// - Throws: `LedgerError`. What was copied until then stays.
    public func run() async throws -> CopyReport? {
        guard !from.isSameFile(as: to) else { return nil }
        guard let source = try await from.openExisting() else {
            throw LedgerError(
                .unreachable, operation: "copy", location: from.description, explanation: "there is no record there")
        }
        defer { source.close() }
        let target = try to.open()
        defer { target.close() }
        guard try await source.identity() != target.identity() else { return nil }
        var report = CopyReport(from: from.description, to: to.description)
        try await Self.copy(source, target, &report)
        return report
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
        if let source = source as? any FleetRecord, let target = target as? any FleetRecord {
            try await copyFleet(source, target)
        }
    }

    /// After the runs, by whose markers the outcomes of hooks are told.
    private static func copyFleet(_ source: any FleetRecord, _ target: any FleetRecord) async throws {
        try await target.insert(source.members())
        var last: FleetHook.Key?
        while true {
            let hooks = try await source.fleetHooks(after: last, limit: 500)
            guard let end = hooks.last else { return }
            try await target.insert(hooks)
            last = end.key
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

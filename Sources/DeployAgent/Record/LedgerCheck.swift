public import Ledger
import Log
import Settings

/// What was found when the record was looked at, and what of it is wrong.
public struct LedgerCheck: Sendable {
    /// Where it is, without credentials.
    public let ledger: String
    let isShared: Bool
    /// Nil when there is no record yet, or it could not be reached.
    let findings: RecordFindings?
    /// Why it could not be reached.
    let failure: String?

    init(ledger: String, isShared: Bool, findings: RecordFindings?, failure: String? = nil) {
        self.ledger = ledger
        self.isShared = isShared
        self.findings = findings
        self.failure = failure
    }

    /// Looks at the session's record, and changes nothing.
    /// - Throws: `LedgerError`.
    public init(session: AgentSession) async throws {
        let address = session.settings.ledger
        self.init(
            ledger: address.description, isShared: address.isShared,
            findings: try await address.inspect(within: session.settings.ledgerTimeout))
    }

    /// A record that could not be looked at.
    public init(session: AgentSession, failure: LedgerError) {
        let address = session.settings.ledger
        self.init(
            ledger: address.description, isShared: address.isShared, findings: nil,
            failure: session.log.mask(failure.description))
    }

    /// Whether there is a record.
    public var exists: Bool { findings != nil }

    /// What keeps an agent from working with the record, or does not fit together in it.
    public var problems: [String] {
        if let failure { return [failure] }
        guard let findings else { return [] }
        var problems = findings.refusals.map { "it cannot be written: \($0)" }
        switch findings.store {
        case .file(let file): problems += file.damage.map { "the file is damaged: \($0)" }
        case .server(let server):
            if server.isStandby {
                problems.append("it cannot be written: the server is a standby; name the primary")
            } else if server.isReadOnly {
                problems.append("it cannot be written: the database is read-only")
            }
        }
        if let contents = findings.contents {
            problems += Self.text(
                contents.overdueRuns, "is marked running, but its deployment has ended",
                "are marked running, but their deployments have ended")
            problems += Self.text(contents.orphanedRuns, "has no deployment", "have no deployment")
        }
        return problems
    }

    /// What is no fault of the record and may still do harm.
    public var warnings: [String] {
        guard case .server(let server) = findings?.store else { return [] }
        var warnings: [String] = []
        if !(13...18).contains(server.majorVersion) {
            warnings.append("PostgreSQL \(server.version) is not one of 13 to 18, with which the agent is tested")
        }
        if abs(server.clockAheadMilliseconds) > 5000 {
            warnings.append("the server's clock is \(clock(server)); set one of the two right")
        }
        warnings += server.unsafeSettings.map { "\($0) on the server: what was recorded last may be lost in a crash" }
        return warnings
    }

    /// What is only worth knowing.
    public var notes: [String] {
        guard let findings else { return [] }
        var notes: [String] = []
        if findings.version < findings.knownVersion {
            notes.append("an agent that works with it brings its tables up to date")
        } else if findings.version > findings.knownVersion {
            notes.append(RecordVersion.note(findings.version))
        }
        if case .server(let server) = findings.store, server.hooksWithoutRun > 0 {
            notes.append(
                "\(server.hooksWithoutRun) outcome(s) of hooks for all hosts are kept whose runs were deleted")
        }
        return notes
    }

    private static func text(_ found: RecordContents.Found, _ one: String, _ many: String) -> [String] {
        guard found.count > 0 else { return [] }
        let ids = found.first.map(String.init).joined(separator: ", ") + (found.count > found.first.count ? ", …" : "")
        return [found.count == 1 ? "run \(ids) \(one)" : "\(found.count) runs \(many): \(ids)"]
    }

    func clock(_ server: ServerFindings) -> String {
        let difference = server.clockAheadMilliseconds
        return difference == 0
            ? "as this host's" : "\(abs(difference)) ms \(difference > 0 ? "ahead of" : "behind") this host's"
    }
}

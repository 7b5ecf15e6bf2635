import Foundation
import Ledger
import Testing

@testable import DeployAgent

/// What is made of what was found in a record.
struct LedgerCheckTests {
    private func server(_ change: (inout ServerFindings) -> Void = { _ in }) -> ServerFindings {
        var server = ServerFindings(
            schema: "deploy_agent", version: "17.2", majorVersion: 17, isStandby: false, isReadOnly: false,
            maxConnections: 100, isPooled: false, encryption: "TLSv1.3", clockAheadMilliseconds: 3, unsafeSettings: [],
            leases: [], hooksWithoutRun: 0)
        change(&server)
        return server
    }

    private func check(_ store: RecordFindings.Store, _ change: (inout RecordFindings) -> Void = { _ in })
        -> LedgerCheck
    {
        var findings = RecordFindings(
            version: 1, knownVersion: 1, refusals: [],
            contents: RecordContents(
                deployments: 2, runs: 3, runningDeployments: 0, runningRuns: 0, oldest: Timestamp(milliseconds: 0),
                newest: Timestamp(milliseconds: 1000), overdueRuns: .init(count: 0, first: []),
                orphanedRuns: .init(count: 0, first: [])), sizeBytes: 3_500_000, store: store)
        change(&findings)
        return LedgerCheck(ledger: "where it is", isShared: true, findings: findings)
    }

    @Test("a record with nothing wrong has no problem, warning or note")
    func fine() {
        for store in [
            RecordFindings.Store.server(server()), .file(FileFindings(journalMode: "wal", damage: [])),
        ] {
            let check = check(store)
            #expect(check.problems.isEmpty && check.warnings.isEmpty && check.notes.isEmpty && check.isWritable)
            #expect(check.rows.contains(["size", "3.3 MiB"]))
        }
    }

    @Test(
        "a server outside 13 to 18 is warned of", arguments: [(12, true), (13, false), (18, false), (19, true)])
    func version(major: Int, isWarned: Bool) {
        let check = check(.server(server { $0.majorVersion = major }))
        #expect(check.warnings.isEmpty != isWarned && check.problems.isEmpty)
    }

    @Test(
        "a clock that is more than five seconds off is warned of, either way",
        arguments: [(Int64(5000), nil), (5001, "ahead of"), (-5000, nil), (-5001, "behind")] as [(Int64, String?)])
    func clock(milliseconds: Int64, word: String?) {
        let check = check(.server(server { $0.clockAheadMilliseconds = milliseconds }))
        #expect(check.warnings.count == (word == nil ? 0 : 1))
        #expect(check.warnings.first?.contains(word ?? "") != false)
    }

    @Test("a record to which a newer agent has added something is as good as any, and that is noted")
    func newer() {
        let check = check(.file(FileFindings(journalMode: "wal", damage: []))) { $0.version = 11 }
        #expect(check.problems.isEmpty && check.warnings.isEmpty && check.isWritable)
        #expect(check.notes.count == 1 && check.notes[0].contains("newer version of the agent (schema 11"))
        #expect(check.rows.contains(["schema", "version 11"]))
    }

    @Test("a standby, a read-only database, missing rights and damage are problems")
    func unwritable() {
        let checks = [
            check(
                .server(
                    server {
                        $0.isStandby = true
                        $0.isReadOnly = true
                    })), check(.server(server { $0.isReadOnly = true })),
            check(.server(server())) { $0.refusals = ["no right to INSERT on runs"] },
        ]
        for check in checks { #expect(check.problems.count == 1 && !check.isWritable) }
        let damaged = check(.file(FileFindings(journalMode: "wal", damage: ["a page"]))) { $0.contents = nil }
        #expect(damaged.problems == ["the file is damaged: a page"])
        #expect(damaged.rows.contains(["deployments", "cannot be counted"]))
    }

    @Test("entries that do not fit together are named, the first of many")
    func entries() {
        let check = check(.server(server { $0.hooksWithoutRun = 2 })) {
            $0.contents?.overdueRuns = .init(count: 1, first: [7])
            $0.contents?.orphanedRuns = .init(count: 9, first: [1, 2, 3, 4, 5])
        }
        #expect(
            check.problems == [
                "run 7 is marked running, but its deployment has ended", "9 runs have no deployment: 1, 2, 3, 4, 5, …",
            ])
        #expect(check.notes.count == 1 && check.warnings.isEmpty)
    }

    @Test("settings by which commits are lost are warned of; a lease shows who has it, and whether it has expired")
    func serverRows() {
        func lease(_ remaining: Duration) -> ServerFindings.FoundLease {
            .init(
                app: "shop",
                lease: HeldLease(
                    name: "PRE_DEPLOY", fence: 4, host: "web-1", commit: "c", run: 5,
                    acquiredAt: Timestamp(milliseconds: 0), remaining: remaining))
        }
        let check = check(
            .server(
                server {
                    $0.unsafeSettings = ["fsync = off"]
                    $0.leases = [lease(.seconds(12)), lease(.seconds(-3))]
                    $0.isPooled = true
                    $0.encryption = nil
                }))
        #expect(check.warnings.count == 1 && check.problems.isEmpty)
        #expect(check.rows.contains(["lease", "PRE_DEPLOY of shop: web-1, fence 4, for another 12s"]))
        #expect(check.rows.contains(["lease", "PRE_DEPLOY of shop: web-1, fence 4, expired 3s ago"]))
        #expect(check.rows.contains(["encryption", "not known behind a pooler"]))
    }

    @Test("JSON has the same keys whatever was found")
    func keys() throws {
        func keys(_ check: LedgerCheck) throws -> [String] {
            let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(check)) as? [String: Any]
            return (object ?? [:]).keys.sorted()
        }
        let expected = try keys(check(.server(server())))
        #expect(expected.count > 20 && expected.allSatisfy { $0.wholeMatch(of: /[a-z][a-z_]*/) != nil })
        for other in [
            check(.file(FileFindings(journalMode: "wal", damage: []))), check(.server(server())) { $0.contents = nil },
            LedgerCheck(ledger: "x", isShared: false, findings: nil),
            LedgerCheck(ledger: "x", isShared: false, findings: nil, failure: "away"),
        ] {
            #expect(try keys(other) == expected)
        }
    }
}

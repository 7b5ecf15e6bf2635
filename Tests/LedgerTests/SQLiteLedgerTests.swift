import Foundation
import GRDB
import Ledger
import LedgerSQLite
import TestSupport
import Testing

/// What is particular to a file: whose it is, which version, in what condition.
@Suite(.timeLimit(.minutes(1)))
struct SQLiteLedgerTests {
    let folder: TemporaryFolder
    var path: String { folder.path + "/ledger.sqlite" }

    init() throws {
        folder = try TemporaryFolder()
    }

    private func expectRefused(_ code: LedgerError.Code) throws {
        let before = FileManager.default.contents(atPath: path)
        let error = #expect(throws: LedgerError.self) { try SQLiteLedger(path: path) }
        #expect(error?.code == code && error?.description.contains(path) == true)
        #expect(FileManager.default.contents(atPath: path) == before)
    }

    @Test("a ledger of a newer version is refused and left as it is")
    func newer() throws {
        do {
            let queue = try DatabaseQueue(path: path)
            try queue.write { db in
                try db.execute(sql: "PRAGMA application_id = 1146113113; PRAGMA user_version = 99; CREATE TABLE x (y)")
            }
            try queue.close()
        }
        try expectRefused(.newerSchema)
    }

    @Test("another program's database is refused and left as it is")
    func foreign() throws {
        let queue = try DatabaseQueue(path: path)
        try queue.write { db in try db.execute(sql: "CREATE TABLE theirs (y)") }
        try queue.close()
        try expectRefused(.foreign)
    }

    @Test("a database that is refused keeps its journal of changes")
    func journal() throws {
        let queue = try DatabaseQueue(path: path)
        try queue.inDatabase { db in
            try db.execute(sql: "PRAGMA journal_mode = WAL; CREATE TABLE theirs (y); INSERT INTO theirs VALUES (1)")
        }
        // Copied while it is open: as a program that was killed leaves it.
        let copy = folder.path + "/copy.sqlite"
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        try FileManager.default.copyItem(atPath: path + "-wal", toPath: copy + "-wal")
        try queue.close()
        let before = FileManager.default.contents(atPath: copy + "-wal")
        #expect(before?.isEmpty == false)
        #expect(throws: LedgerError.self) { try SQLiteLedger(path: copy) }
        #expect(FileManager.default.contents(atPath: copy + "-wal") == before)
    }

    @Test("a scrap that is shorter than a database's header is refused and left as it is")
    func scrap() throws {
        try Data("x".utf8).write(to: URL(fileURLWithPath: path))
        try expectRefused(.corrupt)
    }

    @Test("a file that is no database, or a damaged one, is refused and left as it is", arguments: [0, 20])
    func corrupt(keep: Int) async throws {
        _ = try await SQLiteLedger(path: path).begin(.sample(), firstRun: nil)
        var bytes = try #require(FileManager.default.contents(atPath: path))
        for index in keep..<100 { bytes[index] = 0x5A }
        try? FileManager.default.removeItem(atPath: path + "-wal")
        try bytes.write(to: URL(fileURLWithPath: path))
        try expectRefused(.corrupt)
    }

    @Test("a folder that does not exist is an unreachable ledger")
    func missingFolder() throws {
        let error = #expect(throws: LedgerError.self) { try SQLiteLedger(path: folder.path + "/none/ledger.sqlite") }
        #expect(error?.code == .unreachable)
    }

    @Test("many may open a new ledger at once, and all write to it")
    func concurrentOpen() async throws {
        let path = path
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
                group.addTask {
                    _ = try await SQLiteLedger(path: path).begin(.sample(commit: "\(number)"), firstRun: nil)
                }
            }
            try await group.waitForAll()
        }
        let all = try await SQLiteLedger(path: path).history(
            HistoryFilter(host: "h", subject: .workspace("/w"), limit: 100))
        #expect(Set(all.map(\.commit)) == Set((0..<8).map(String.init)))
    }

    @Test("an empty file is as good as none")
    func emptyFile() async throws {
        try folder.write("ledger.sqlite", "")
        let store = try SQLiteLedger(path: path)
        #expect(try await store.begin(.sample(), firstRun: nil).deployment.id == 1)
    }

    @Test(
        "another program's database is known by its tables, its version or its application id",
        arguments: [
            "PRAGMA journal_mode = WAL; CREATE TABLE notes (id)", "PRAGMA user_version = 7",
            "CREATE TABLE notes (id); PRAGMA application_id = 1234567; PRAGMA user_version = 1",
        ])
    func foreignSigns(statements: String) throws {
        let queue = try DatabaseQueue(path: path)
        try queue.writeWithoutTransaction { db in try db.execute(sql: statements) }
        try queue.close()
        try expectRefused(.foreign)
    }

    @Test(
        "a newer ledger that a killed agent left with its journal is refused, file and journal left as they are")
    func newerJournal() throws {
        let original = folder.path + "/original"
        let queue = try DatabaseQueue(path: original)
        try queue.writeWithoutTransaction { db in
            try db.execute(
                sql: """
                    PRAGMA journal_mode = WAL; CREATE TABLE x (y);
                    PRAGMA application_id = 1146113113; PRAGMA user_version = 99
                    """)
        }
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: original + suffix, toPath: path + suffix)
        }
        try queue.close()
        let journal = FileManager.default.contents(atPath: path + "-wal")
        #expect(journal?.isEmpty == false)
        try expectRefused(.newerSchema)
        #expect(FileManager.default.contents(atPath: path + "-wal") == journal)
    }

    @Test("the ledger of a killed agent, with its journal, has all that was written")
    func journalIsRead() async throws {
        let original = folder.path + "/original"
        let store = try SQLiteLedger(path: original)
        let id = try await store.begin(.sample(commit: "c"), firstRun: nil).deployment.id
        // Copied while it is open: as an agent that was killed leaves it.
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: original + suffix, toPath: path + suffix)
        }
        #expect(try await SQLiteLedger(path: path).deployment(id)?.commit == "c")
        store.close()
    }

    @Test("a ledger whose pages are damaged is reported as damaged when they are read")
    func damagedPages() async throws {
        let store = try SQLiteLedger(path: path)
        _ = try await store.begin(.sample(), firstRun: nil)
        store.close()
        var bytes = try #require(FileManager.default.contents(atPath: path))
        for index in 4096..<bytes.count { bytes[index] = 0xA5 }
        try bytes.write(to: URL(fileURLWithPath: path))
        let error = await #expect(throws: LedgerError.self) {
            try await SQLiteLedger(path: path).facts(DeploymentDraft.sample().scope, commit: "a")
        }
        #expect(error?.code == .corrupt)
    }

    @Test("what is to wait after a failure is not put off by a clock that was set back", arguments: [false, true])
    func clockSetBack(isSetBack: Bool) async throws {
        let store = try SQLiteLedger(path: path)
        var run = RunDraft.sample("t-v1", parent: nil)
        run.kind = .task
        func claim(_ host: String) async throws -> ClaimAnswer {
            run.place.host = host
            run.marker = uniqueText()
            return try await store.claim(
                ClaimRequest(
                    scope: run.place, commit: "a", holder: host, run: run, retries: nil, isLenient: false,
                    ignoresBackoff: false, isForced: false))
        }
        guard case .granted(let lease, let begun, _) = try await claim("h1") else {
            throw PreparationFailed("not granted")
        }
        let result = RunResult(status: .failed, exitCode: 1, completedAt: .now)
        _ = try await store.complete(
            ClaimResult(lease: lease, commit: "a", task: "t-v1", run: begun.id, result: result, retryIn: .seconds(60)))
        if isSetBack {
            // As if the clock had been three hours ahead until now.
            let queue = try DatabaseQueue(path: path)
            try await queue.write { db in
                try db.execute(sql: "UPDATE outcomes SET retry_at = retry_at + 10800000")
                try db.execute(sql: "UPDATE runs SET completed_at = completed_at + 10800000")
            }
            try queue.close()
        }
        let answer = try await claim("h2")
        if isSetBack {
            guard case .granted = answer else { throw PreparationFailed("\(answer)") }
        } else {
            guard case .done = answer else { throw PreparationFailed("\(answer)") }
        }
    }

    @Test("a folder in the ledger's place is reported with its path")
    func folderInPlace() throws {
        let error = #expect(throws: LedgerError.self) { try SQLiteLedger(path: folder.path) }
        #expect(error?.code == .unreachable && error?.operation == "open" && error?.location == folder.path)
    }

    @Test("of a write that fails nothing is kept, the error tells none of its values, and the store goes on working")
    func failedWrite() async throws {
        let store = try SQLiteLedger(path: path)
        let (deployment, first) = try await store.begin(.sample()) { .sample(parent: $0) }
        let run = try #require(first)
        let queue = try DatabaseQueue(path: path)
        try await queue.write { db in
            try db.execute(
                sql: """
                    CREATE TRIGGER refuse BEFORE UPDATE ON deployments WHEN NEW.error_message = 'a-secret-value'
                    BEGIN SELECT RAISE(ABORT, 'refused'); END
                    """)
        }
        try queue.close()
        var failing = DeploymentResult.sample(.failed)
        failing.errorMessage = "a-secret-value"
        let entries: [LedgerEntry] = [
            .completeRun(run.id, .sample(.failed)), .publish(deployment: deployment.id),
            .beginRun(.sample("POST_DEPLOY", parent: deployment.id)), .completeDeployment(deployment.id, failing),
        ]
        let error = await #expect(throws: LedgerError.self) { try await store.write(entries) }
        #expect(error?.operation == "write" && error?.description.contains("a-secret-value") == false)
        #expect(try await store.runs(deployment: deployment.id).map(\.status) == [.running])
        #expect(try await store.deployment(deployment.id)?.published == false)
        try await store.write([.completeDeployment(deployment.id, .sample(.failed))])
        #expect(try await store.deployment(deployment.id)?.status == .failed)
    }
}

@Suite struct TimestampTests {
    @Test(
        "a time moves by whole milliseconds, what is less is left out",
        arguments: [
            (Duration.seconds(1), Int64(1_001_000)), (.milliseconds(1), 1_000_001), (.microseconds(1999), 1_000_001),
            (.zero, 1_000_000), (.seconds(-1), 999_000),
        ])
    func advance(duration: Duration, expected: Int64) {
        #expect(Timestamp(milliseconds: 1_000_000).advanced(by: duration).milliseconds == expected)
    }

    @Test("a time tells how long after another it is, or before")
    func difference() {
        let (early, late) = (Timestamp(milliseconds: 5), Timestamp(milliseconds: 12))
        #expect(late.millisecondsSince(early) == 7 && early.millisecondsSince(late) == -7 && early < late)
    }

    @Test(
        "times are written as RFC 3339 in UTC with milliseconds",
        arguments: [
            (Int64(0), "1970-01-01T00:00:00.000Z"), (1_769_847_330_042, "2026-01-31T08:15:30.042Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-1000, "1969-12-31T23:59:59.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ])
    func rfc3339(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).rfc3339 == text)
    }
}

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
}

@Suite struct TimestampTests {
    @Test(
        "times are written as RFC 3339 in UTC with milliseconds",
        arguments: [
            (Int64(0), "1970-01-01T00:00:00.000Z"), (1_769_847_330_042, "2026-01-31T08:15:30.042Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        ])
    func rfc3339(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).rfc3339 == text)
    }
}

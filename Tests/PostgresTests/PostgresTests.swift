import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Postgres

/// A real server answers.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct PostgresTests {
    /// One for all tests; ended with the process that it belongs to.
    private static let cluster = Task { try await PostgresCluster() }

    private func connection(
        _ change: (ConnectionString) -> ConnectionString = { $0 }
    ) async throws -> PostgresConnection {
        let cluster = try await Self.cluster.value
        return try await PostgresConnection(change(ConnectionString(cluster.url())))
    }

    @Test("parameters and rows are typed, and text comes back as it was")
    func values() async throws {
        let texts = [
            "", "plain", "'; DROP TABLE x; --", "ä € \u{1F600}", "a\nb\t\"c\"", String(repeating: "x", count: 100_000),
        ]
        let connection = try await connection()
        for text in texts {
            let back = try await connection.run { session in
                try session.query("SELECT $1::text, length($1::text)", [.text(text)]).rows[0].get(0, as: String.self)
            }
            #expect(back == text)
        }
        let row = try await connection.run { session in
            try session.query(
                "SELECT $1::bigint, $2::boolean, $3::text, 7::int",
                [.integer(.min), .boolean(false), .null]
            ).rows[0]
        }
        #expect(try row.get(0) == Int64.min && row.get(1) == false && row.get(3) == 7)
        #expect(try row.optional(2, as: String.self) == nil)
        #expect(throws: PostgresError.self) { try row.get(2, as: String.self) }
        #expect(throws: PostgresError.self) { try row.get(0, as: Bool.self) }
        #expect(throws: PostgresError.self) { try row.get(9, as: Int.self) }
        let replaced = try await connection.run { session in
            try session.query("SELECT $1::text", [.text("a\0b")]).rows[0].get(0, as: String.self)
        }
        #expect(replaced == "a\u{FFFD}b")
    }

    @Test("what the server refuses has its SQLSTATE and no row's content, and the connection goes on")
    func refused() async throws {
        let connection = try await connection()
        try await connection.run { try $0.query("CREATE TEMPORARY TABLE once (id int PRIMARY KEY, secret text)") }
        try await connection.run { try $0.query("INSERT INTO once VALUES (1, 'a')") }
        let error = await #expect(throws: PostgresError.self) {
            try await connection.run { try $0.query("INSERT INTO once VALUES (1, $1)", [.text("s3cr3t-row")]) }
        }
        #expect(error?.code == .refused && error?.sqlState == "23505" && error?.description.contains("s3cr3t") == false)
        let syntax = await #expect(throws: PostgresError.self) { try await connection.run { try $0.query("SELEC 1") } }
        #expect(syntax?.sqlState == "42601" && syntax?.isTransient == false)
        #expect(try await connection.run { try $0.query("SELECT 1").rows.count } == 1)
    }

    @Test("a transaction takes effect whole or not at all, and counts what it changed")
    func transactions() async throws {
        let connection = try await connection()
        try await connection.run { try $0.query("CREATE TEMPORARY TABLE t (id int)") }
        let changed = try await connection.transaction { session in
            try session.query("INSERT INTO t SELECT generate_series(1, 5)").affected
        }
        #expect(changed == 5)
        await #expect(throws: PostgresError.self) {
            try await connection.transaction { session in
                try session.query("DELETE FROM t")
                try session.query("SELECT 1/0")
            }
        }
        #expect(try await connection.run { try $0.query("SELECT count(*) FROM t").rows[0].get(0, as: Int.self) } == 5)
    }

    @Test("blocks of statements of many tasks do not mix")
    func noMixing() async throws {
        let connection = try await connection()
        try await connection.run { try $0.query("CREATE TEMPORARY TABLE steps (id serial, task int)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<20 {
                group.addTask {
                    try await connection.transaction { session in
                        for _ in 0..<5 {
                            try session.query("INSERT INTO steps (task) VALUES ($1::int)", [.integer(Int64(task))])
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let tasks = try await connection.run { session in
            try session.query("SELECT task FROM steps ORDER BY id").rows.map { try $0.get(0, as: Int.self) }
        }
        #expect(tasks.count == 100)
        #expect(stride(from: 0, to: 100, by: 5).allSatisfy { Set(tasks[$0..<($0 + 5)]).count == 1 })
    }

    @Test("a statement that takes too long is given up here and on the server", arguments: [true, false])
    func tooLong(byCancellation: Bool) async throws {
        let connection = try await connection()
        let pid = try await connection.run { try $0.query("SELECT pg_backend_pid()").rows[0].get(0, as: Int.self) }
        let begin = ContinuousClock.now
        let task = Task {
            try await connection.run(within: byCancellation ? .seconds(60) : .milliseconds(300)) {
                try $0.query("SELECT pg_sleep(60)")
            }
        }
        let other = try await self.connection()
        func isAsleep() async throws -> Bool {
            try await other.run { session in
                try session.query(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int AND query LIKE '%pg_sleep%' AND state = 'active'",
                    [.integer(Int64(pid))]
                ).rows[0].get(0, as: Int.self) == 1
            }
        }
        if byCancellation {
            try #require(await eventually { (try? await isAsleep()) == true })
            task.cancel()
        }
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.code == (byCancellation ? .cancelled : .timedOut))
        #expect(ContinuousClock.now - begin < .seconds(20))
        #expect(await eventually { (try? await isAsleep()) == false })
        let closed = await #expect(throws: PostgresError.self) { try await connection.run { try $0.query("SELECT 1") } }
        #expect(closed?.code == .unreachable)
    }

    @Test("whoever is cancelled before its turn disturbs nobody else's")
    func cancelledInTheQueue() async throws {
        let connection = try await connection()
        let first = Task { try await connection.run { try $0.query("SELECT pg_sleep(0.5)").rows.count } }
        try await connection.run { _ in }
        let busy = Task { try await connection.run { try $0.query("SELECT pg_sleep(0.5)").rows.count } }
        let queued = (0..<20).map { _ in Task { try await connection.run { try $0.query("SELECT 1").rows.count } } }
        for task in queued { task.cancel() }
        #expect(try await first.value == 1)
        #expect(try await busy.value == 1)
        for task in queued { _ = try? await task.value }
        #expect(try await connection.run { try $0.query("SELECT 1").rows.count } == 1)
    }

    @Test("notifications come with their payload; none is none")
    func notifications() async throws {
        let (listener, sender) = (try await connection(), try await connection())
        try await listener.run { try $0.query("LISTEN news") }
        #expect(try await listener.nextNotification(within: .milliseconds(50)) == nil)
        for payload in ["one", "two"] {
            try await sender.run { try $0.query("SELECT pg_notify('news', $1)", [.text(payload)]) }
        }
        for payload in ["one", "two"] {
            let came = try await listener.nextNotification(within: .seconds(20))
            #expect(came == PostgresNotification(channel: "news", payload: payload))
        }
    }

    @Test("a server that is gone, a wrong password and a text that is no connection string are told apart")
    func connecting() async throws {
        let cluster = try await Self.cluster.value
        let wrong = await #expect(throws: PostgresError.self) {
            _ = try await PostgresConnection(ConnectionString(cluster.url(password: "wr0ng-pw")))
        }
        #expect(wrong?.description.contains("password authentication failed") == true)
        #expect(wrong?.description.contains("wr0ng-pw") == false)
        let nobody = await #expect(throws: PostgresError.self) {
            _ = try await PostgresConnection(ConnectionString("host=127.0.0.1 port=1 password=s3cr3t-pw"))
        }
        #expect(nobody?.code == .unreachable && nobody?.isTransient == true)
        #expect(nobody?.description.contains("s3cr3t-pw") == false)
        let invalid = #expect(throws: PostgresError.self) { try ConnectionString("postgresql://u:s3cr3t-pw@[bad/x") }
        #expect(invalid?.code == .invalid && invalid?.description.contains("s3cr3t-pw") == false)
        let string = try ConnectionString(cluster.url())
        #expect(string.place == "127.0.0.1:\(cluster.port)/postgres" && string.passwords == ["s3cret"])
    }

    @Test("a server that ends under a connection is unreachable, and a new connection works once it is back")
    func restart() async throws {
        let cluster = try await PostgresCluster()
        let connection = try await PostgresConnection(ConnectionString(cluster.url()))
        try await cluster.stop()
        let error = await #expect(throws: PostgresError.self) { try await connection.run { try $0.query("SELECT 1") } }
        #expect(error?.isTransient == true, "\(String(describing: error))")
        try await cluster.start()
        let again = try await PostgresConnection(ConnectionString(cluster.url()))
        #expect(try await again.run { try $0.query("SELECT 1").rows.count } == 1)
    }

    @Test("a server that accepts and says nothing is given up in time")
    func silent() async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, size)
                listen(listener, 8)
                getsockname(listener, pointer, &size)
            }
            return pointer.pointee.sin_port.bigEndian
        }
        let begin = ContinuousClock.now
        let error = await #expect(throws: PostgresError.self) {
            _ = try await PostgresConnection(
                ConnectionString("host=127.0.0.1 port=\(port) sslmode=disable"), within: .milliseconds(400))
        }
        #expect(error?.code == .timedOut && ContinuousClock.now - begin < .seconds(10))
    }
}

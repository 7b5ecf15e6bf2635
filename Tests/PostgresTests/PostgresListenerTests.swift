import Foundation
import Postgres
import TestSupport
import Testing

/// Notifications, over connections that break and poolers that swallow them; and what a server says when it refuses one.
@Suite(.timeLimit(.minutes(2)))
struct PostgresListenerTests {
    private static let cluster = Task { try await PostgresCluster() }

    private func connect() async throws -> PostgresConnection {
        try await PostgresConnection(ConnectionString(Self.cluster.value.url()))
    }

    @Test("a listener hears what is sent, listens anew after its connection broke, and says when it begins")
    func reconnect() async throws {
        let string = try ConnectionString(await Self.cluster.value.url()).with(
            "application_name", "listener under test")
        let listener = PostgresListener(channel: "ch") { try await PostgresConnection(string) }
        let other = try await connect()
        #expect(await listener.next(within: .seconds(10)) == .listening)
        try await other.run { try $0.query("NOTIFY ch, 'one'") }
        #expect(await listener.next(within: .seconds(10)) == .notified(payload: "one"))
        #expect(await listener.next(within: .milliseconds(10)) == .quiet)
        try await other.run {
            try $0.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listener under test'")
        }
        #expect(await listener.next(within: .seconds(10)) == .deaf)
        #expect(await listener.next(within: .seconds(10)) == .listening)
        try await other.run { try $0.query("NOTIFY ch, 'two'") }
        #expect(await listener.next(within: .seconds(10)) == .notified(payload: "two"))
    }

    @Test("through a pooler nobody listens, and nothing is left in its sessions")
    func pooled() async throws {
        let pooler = try await PgBouncer(Self.cluster.value)
        let string = try ConnectionString(pooler.url)
        let listener = PostgresListener(channel: "ch") { try await PostgresConnection(string) }
        #expect(await listener.next(within: .seconds(10)) == .deaf)
        let connection = try await PostgresConnection(string)
        #expect(try await connection.run { try $0.isPooled() })
        #expect(try await connection.run { try $0.query("SELECT pg_listening_channels()").rows.isEmpty })
        #expect(try await self.connect().run { try $0.isPooled() } == false)
    }

    @Test("a listener that is cancelled ends its wait at once")
    func cancelled() async throws {
        let string = try ConnectionString(await Self.cluster.value.url())
        let listener = PostgresListener(channel: "ch") { try await PostgresConnection(string) }
        #expect(await listener.next(within: .seconds(10)) == .listening)
        let begin = ContinuousClock.now
        let wait = Task { await listener.next(within: .seconds(60)) }
        wait.cancel()
        #expect(await wait.value == .deaf)
        #expect(ContinuousClock.now - begin < .seconds(20))
    }

    @Test(
        "a server that refuses a connection says so with its code: some of it passes, some does not",
        arguments: [("wr0ng", "postgres", "28P01"), ("s3cret", "nowhere", "3D000")])
    func refused(password: String, database: String, state: String) async throws {
        let url = try await Self.cluster.value.url(database: database, password: password)
        let error = await #expect(throws: PostgresError.self) { try await PostgresConnection(ConnectionString(url)) }
        #expect(error?.sqlState == state && error?.isTransient == false)
        #expect(error?.description.contains(password) == false)
        #expect(error?.description.contains("LOCATION") == false && error?.description.contains("FATAL: ") == true)
    }

    @Test("of several hosts one that swallows everything leaves the next one its turn, within a renewal's time")
    func blackHole() async throws {
        // A full queue of connections that nobody accepts: the kernel drops whoever comes.
        let hole = try await LoopbackHole()
        let cluster = try await Self.cluster.value
        let string = try ConnectionString(
            "host=127.0.0.1,127.0.0.1 port=\(hole.port),\(cluster.port) user=agent password=s3cret dbname=postgres")
        let connection = try await PostgresConnection(string, within: .seconds(3))
        #expect(try await connection.run { try $0.query("SELECT 1").rows.count } == 1)
    }

    @Test("connections that cannot be made leave nothing open")
    func descriptors() async throws {
        let string = try ConnectionString("host=127.0.0.1 port=\(await freeLoopbackPort()) dbname=x")
        let before = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        for _ in 0..<300 { _ = try? await PostgresConnection(string) }
        let after = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        // Other suites open and close some meanwhile.
        #expect(after - before < 150)
    }

    @Test(
        "what waiting helps is told apart from what the server refuses for good",
        arguments: [
            ("08006", true, false), ("40001", true, false), ("40P01", true, false), ("53300", true, false),
            ("57P01", true, false), ("57P03", true, false), ("57014", true, false), ("55P03", true, false),
            ("25006", true, false), ("22P05", false, true), ("22021", false, true), ("22001", false, true),
            ("23505", false, false), ("23514", false, true), ("42703", false, true), ("0A000", false, true),
            ("54000", false, false), ("55000", false, true), ("P0001", false, true),
            // Tables that are gone are made anew; of these nobody knows.
            ("42P01", false, false), ("3F000", false, false), ("XX000", false, false), ("58030", false, false),
        ])
    func kinds(state: String, isTransient: Bool, isForGood: Bool) {
        let error = PostgresError(.refused, sqlState: state, message: "x")
        #expect(error.isTransient == isTransient && error.isForGood == isForGood)
    }

    @Test("a server that is out of connections, or stopped by somebody, is worth another try")
    func exhausted() async throws {
        let own = try await connect()
        let user = uniqueText()
        try await own.run { try $0.query("CREATE ROLE \(user) LOGIN PASSWORD 's3cret' CONNECTION LIMIT 0") }
        let url = try await Self.cluster.value.url().replacing("agent:", with: "\(user):")
        let error = await #expect(throws: PostgresError.self) { try await PostgresConnection(ConnectionString(url)) }
        #expect(error?.sqlState == "53300" && error?.isTransient == true)
        let slow = await #expect(throws: PostgresError.self) {
            try await own.run {
                try $0.query("SET statement_timeout TO 10")
                try $0.query("SELECT pg_sleep(10)")
            }
        }
        #expect(slow?.sqlState == "57014" && slow?.isTransient == true)
    }
}

import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Postgres

/// Hosts' names are looked up where nobody has to wait for them.
@Suite(.timeLimit(.minutes(1)))
struct HostNameTests {
    /// Answers some names, leaves others without an answer until it is told to.
    private final class Names: Sendable {
        private let known: [String: NameLookup.Answer]
        private let asked = Mutex<[String]>([])
        private let gate = DispatchSemaphore(value: 0)

        init(_ known: [String: NameLookup.Answer] = [:]) { self.known = known }

        var questions: [String] { asked.withLock { $0 } }

        func ask(_ name: String) -> NameLookup.Answer {
            asked.withLock { $0.append(name) }
            if let answer = known[name] { return answer }
            gate.wait()
            gate.signal()
            return .success(["192.0.2.9"])
        }

        func answerAll() { gate.signal() }
    }

    private func resolve(
        _ text: String, _ names: Names, within limit: Duration = .seconds(20), cancellation: Int32 = -1
    ) throws -> [String: String] {
        try ConnectionString(text).withAddresses(
            cancellation: cancellation, deadline: .now + limit, by: { names.ask($0) }
        ).options
    }

    @Test(
        "addresses stand beside the names, one host for each, ports along with them; what is no name is left as it is",
        arguments: [
            ("host=db port=5", "db,db", "192.0.2.1,2001:db8::1", "5,5"),
            ("host=db,other port=5,6", "db,db,other", "192.0.2.1,2001:db8::1,192.0.2.2", "5,5,6"),
            ("host=other,127.0.0.1,::1", "other,127.0.0.1,::1", "192.0.2.2,127.0.0.1,::1", nil),
            ("host=/run/pg,other port=7", "/run/pg,other", ",192.0.2.2", "7,7"),
            ("postgresql://u@[::1]:1,other:2/db", "::1,other", "::1,192.0.2.2", "1,2"),
            ("host=none,other port=1,2", "other", "192.0.2.2", "2"), ("host=none,/run/pg", "/run/pg", nil, nil),
            ("host=/run/pg", "/run/pg", nil, nil), ("host=127.0.0.1", "127.0.0.1", nil, nil),
            ("host=127.0.0.1,::1", "127.0.0.1,::1", nil, nil), ("dbname=x", nil, nil, nil),
            ("host=db hostaddr=192.0.2.7", "db", "192.0.2.7", nil),
            ("host=db,other port=1,2,3", "db,other", nil, "1,2,3"),
            ("host=db service=s", "db", nil, nil),
        ] as [(String, String?, String?, String?)])
    func addresses(text: String, hosts: String?, addresses: String?, ports: String?) throws {
        let names = Names([
            "db": .success(["192.0.2.1", "2001:db8::1"]), "other": .success(["192.0.2.2"]),
            "none": .failure(PostgresError(.unreachable, message: "not found")),
        ])
        let options = try resolve(text, names)
        #expect(options["host"] == hosts && options["hostaddr"] == addresses && options["port"] == ports, "\(options)")
    }

    @Test(
        "each address of a name has less time than one alone, but where the text says how long",
        arguments: [
            ("host=db", "1500"), ("host=other", "5000"), ("host=db tcp_user_timeout=900", "900"),
            ("postgresql://db/d?tcp_user_timeout=0&", "0"),
        ])
    func turns(text: String, timeout: String) throws {
        let names = Names([
            "db": .success(["192.0.2.1", "2001:db8::1"]), "other": .success(["192.0.2.2"]),
        ])
        #expect(try resolve(text, names)["tcp_user_timeout"] == timeout)
    }

    @Test("a name that is not found is said as libpq says it, and may be found later")
    func notFound() throws {
        let error = #expect(throws: PostgresError.self) {
            try ConnectionString("host=nobody.invalid").withAddresses(cancellation: -1, deadline: .now + .seconds(50))
        }
        #expect(error?.description.contains("could not translate host name \"nobody.invalid\" to address: ") == true)
        #expect(error?.isTransient == true)
        #expect(try NameLookup.askSystem("localhost").get().contains { $0 == "127.0.0.1" || $0 == "::1" })
    }

    @Test("a name server that does not answer is given up in time; the name is asked for once, whoever comes meanwhile")
    func hanging() throws {
        let (name, names) = (uniqueText(), Names())
        let begin = ContinuousClock.now
        for _ in 0..<3 {
            let error = #expect(throws: PostgresError.self) {
                try resolve("host=\(name)", names, within: .milliseconds(100))
            }
            #expect(error?.code == .timedOut && error?.description.contains(name) == true)
        }
        #expect(ContinuousClock.now - begin < .seconds(10))
        #expect(names.questions == [name])
        // Then it answers, and whoever waits hears of it.
        names.answerAll()
        #expect(try resolve("host=\(name)", names)["hostaddr"] == "192.0.2.9")
    }

    @Test(
        "other hosts have their turn while there is time, in their order", arguments: ["127.0.0.1", "/run/pg", "known"])
    func failover(other: String) throws {
        let (name, names) = (uniqueText(), Names(["known": .success(["192.0.2.2"])]))
        let options = try resolve("host=\(name),\(other) port=1,2", names)
        #expect(options["host"] == other && options["port"] == "2")
        names.answerAll()
    }

    @Test("who is cancelled waits no longer")
    func cancelled() throws {
        let (name, names) = (uniqueText(), Names())
        let pipe = Pipe()
        try pipe.fileHandleForWriting.close()
        let error = #expect(throws: PostgresError.self) {
            try resolve("host=\(name)", names, cancellation: pipe.fileHandleForReading.fileDescriptor)
        }
        #expect(error?.code == .cancelled)
        names.answerAll()
    }
}

import Foundation
import Glibc
import TestSupport
import Testing

private let mayUnshare: Bool = {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
    process.arguments = ["-m", "mount", "--bind", "/etc/nsswitch.conf", "/etc/nsswitch.conf"]
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
}()

/// A name server that does not answer, seen by the agent alone: the files that name it are others in a mount namespace.
@Suite(
    .timeLimit(.minutes(3)), .fewAtOnce,
    .enabled(if: geteuid() == 0 && mayUnshare, "mount namespaces cannot be made here"))
struct NameServerTests {
    let fleet: FleetBox
    var box: Box { fleet.box }
    private let server: NameServer

    /// What takes questions and answers none.
    private final class NameServer: Sendable {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        deinit { close(descriptor) }
    }

    init() async throws {
        fleet = try await FleetBox()
        server = NameServer()
        let descriptor = server.descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(53).bigEndian
        // An address of this test's own.
        address.sin_addr.s_addr = in_addr_t(0x7F35_0000 | UInt32.random(in: 1...0xFFFE)).bigEndian
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0 else { throw PreparationFailed("port 53: \(String(cString: strerror(errno)))") }
        let host = String(cString: inet_ntoa(address.sin_addr))
        try box.write(
            "nameserver \(host)\nsearch a.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
            to: box.root + "/resolv.conf")
        try box.write("hosts: files dns\n", to: box.root + "/nsswitch.conf")
    }

    private func start(_ words: [String], _ settings: [String: String]) throws -> Program {
        try box.start(
            program: [
                "/usr/bin/unshare", "-m", "sh", "-c",
                "mount --bind resolv.conf /etc/resolv.conf; mount --bind nsswitch.conf /etc/nsswitch.conf; exec \"$@\"",
                "sh", agentBinary,
            ] + words, settings)
    }

    private let away = "postgresql://agent:s3cret@db.example/postgres"

    @Test("a command waits for it as long as AGENT_LEDGER_TIMEOUT says", arguments: ["run-once", "status", "history"])
    func limit(command: String) async throws {
        let settings = fleet.settings(1, ["AGENT_LEDGER_URL": away, "AGENT_LEDGER_TIMEOUT": "2"])
        let begin = ContinuousClock.now
        let ended = try await start([command], settings).ended()
        #expect(ended.code == 69 && ended.errors.contains("db.example"), "\(ended)")
        // Of 10 seconds and more.
        #expect(ContinuousClock.now - begin < .seconds(8), "\(ended)")
    }

    @Test("the agent ends a moment after its app, or its stop", arguments: ["exec", "run"])
    func end(command: String) async throws {
        let file = box.root + "/url"
        try box.write(fleet.url, to: file)
        let settings = fleet.settings(
            1, ["AGENT_LEDGER_URL": "", "AGENT_LEDGER_URL_FILE": file, "POST_DEPLOY_COMMAND": "touch $OUT/deployed"])
        let words =
            [command]
            + (command == "exec" ? ["--", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"] : [])
        let agent = try start(words, settings)
        try await until("it is deployed", details: { agent.errors }) {
            box.has("deployed") && agent.errors.contains("deployed ")
        }
        try box.write(away, to: file)
        try await until("the name is asked for", details: { agent.errors }) { isAsked() }
        let begin = ContinuousClock.now
        try await agent.send(SIGTERM)
        let ended = try await agent.ended()
        #expect(ended.code == 0, "\(ended)")
        // 2 seconds for a server that does not let anybody in.
        #expect(ContinuousClock.now - begin < .seconds(8), "\(ended)")
    }

    @Test("a notification on its way does not hold up the end either")
    func notification() async throws {
        let agent = try start(["run"], ["NOTIFY_URL": "http://notify.example/x"])
        try await until("the name is asked for", details: { agent.errors }) { isAsked() }
        let begin = ContinuousClock.now
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        // The system's own call takes 40 seconds, libcurl waits for that.
        #expect(ContinuousClock.now - begin < .seconds(8))
    }

    private func isAsked() -> Bool {
        var byte: UInt8 = 0
        return recv(server.descriptor, &byte, 1, Int32(MSG_DONTWAIT)) > 0
    }
}

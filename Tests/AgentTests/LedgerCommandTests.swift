import Foundation
import Glibc
import TestSupport
import Testing

/// `agent ledger copy` and `agent ledger check`.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct LedgerCommandTests {
    private static let cluster = Task { try await PostgresCluster() }

    let box: Box
    private var file: String { "sqlite:\(box.state)/ledger.sqlite" }

    init() async throws { box = try await Box() }

    /// A database of the test's own, by a URL with a password.
    private func database() async throws -> String {
        let cluster = try await Self.cluster.value
        return cluster.url(database: try await cluster.makeDatabase())
    }

    private func deploy(_ count: Int) async throws {
        for number in 0..<count {
            try await box.commit(["app.txt": "\(number)"], "number \(number)")
            _ = try await box.once(["PRE_DEPLOY_COMMAND": "echo hello"])
        }
    }

    @Test("a file's record moves to a server: agents go on there, nothing is deployed again")
    func move() async throws {
        try await deploy(3)
        let url = try await database()
        let before = try await box.history()
        let copied = try await box.agent("ledger", "copy", file, url)
        #expect(copied.code == 0 && copied.errors.isEmpty, "\(copied)")
        #expect(copied.output.hasPrefix("copied 3 deployments and 3 runs from sqlite:"), "\(copied)")
        #expect(copied.output.hasSuffix("; 0 were there already\n") && !copied.output.contains("s3cret"), "\(copied)")
        let settings = ["AGENT_LEDGER_URL": url, "PRE_DEPLOY_COMMAND": "echo hello"]
        #expect(try await box.json("history", settings: settings) == .array(before))
        let once = try await box.once(settings)
        #expect(once.outcome == "unchanged", "\(once)")
        let logs = try await box.agent("logs", "3", settings: settings)
        #expect(logs.output == "hello\n")
        let again = try await box.json("ledger", "copy", file, url)
        #expect(
            again.keys == [
                "from", "to", "deployments", "runs", "skipped", "notifications", "left_out", "running",
            ])
        #expect(again["deployments"].int == 0 && again["runs"].int == 0 && again["skipped"].int == 3)
        // And back, into a file that is not there yet.
        let back = try await box.json("ledger", "copy", url, "sqlite:\(box.root)/back")
        #expect(back["deployments"].int == 3)
        #expect(try await box.json("history", "--ledger", "sqlite:\(box.root)/back") == .array(before))
        #expect(try await box.sh("stat -c %a back") == "600")
    }

    @Test("what cannot be copied is said, no password with it, and nothing is made")
    func refused() async throws {
        try await deploy(1)
        let url = try await database()
        let none = try await box.agent("ledger", "copy", "sqlite:\(box.root)/none", "sqlite:\(box.root)/other")
        #expect(none.code == 69 && none.errors.contains("there is no record there"), "\(none)")
        let noSchema = try await box.agent("ledger", "copy", url, "sqlite:\(box.root)/other")
        #expect(noSchema.code == 69 && noSchema.errors.contains("there is no record there"), "\(noSchema)")
        #expect(access(box.root + "/none", F_OK) != 0 && access(box.root + "/other", F_OK) != 0)
        let wrong = try await box.agent("ledger", "copy", file, "hots=db password=hunter2")
        #expect(wrong.code == 64 && wrong.errors.contains("TO names no record"), "\(wrong)")
        let same = try await box.agent("ledger", "copy", file, "sqlite:state/../state/ledger.sqlite")
        #expect(same.code == 64 && same.errors.contains("the same record"), "\(same)")
        _ = try await box.agent("ledger", "copy", file, url)
        let sameServer = try await box.agent("ledger", "copy", url, url + "?application_name=x")
        #expect(sameServer.code == 64, "\(sameServer)")
        let password = url.replacing("s3cret", with: "hunter2")
        let denied = try await box.agent("ledger", "copy", file, password)
        #expect(denied.code == 69 && denied.errors.contains("password"), "\(denied)")
        for ended in [none, noSchema, wrong, same, sameServer, denied] {
            let all = ended.output + ended.errors
            #expect(!all.contains("hunter2") && !all.contains("s3cret"), "\(ended)")
        }
    }

    @Test("a deployment that is still running is copied and warned of")
    func running() async throws {
        let agent = try box.start("run-once", settings: ["PRE_DEPLOY_COMMAND": Hooks.await_("go")])
        try await until("it runs") { try await box.agent("history", "--json").output.contains("running") }
        let copied = try await box.agent("ledger", "copy", file, "sqlite:\(box.root)/other")
        #expect(copied.code == 0 && copied.errors.contains("still running"), "\(copied)")
        try box.touch("go")
        #expect(try await agent.ended().code == 0)
        let again = try await box.agent("ledger", "copy", file, "sqlite:\(box.root)/other")
        #expect(again.code == 0 && again.errors.isEmpty && again.output.hasPrefix("copied 1 deployment and 1 run "))
        let copy = try await box.json("history", "--ledger", "sqlite:\(box.root)/other")
        #expect(copy == .array(try await box.history()))
    }

    @Test("check before the first deployment finds no record and makes none")
    func noRecord() async throws {
        let url = try await database()
        for settings in [[:], ["AGENT_LEDGER_URL": url]] {
            let ended = try await box.agent("ledger", "check", settings: settings)
            #expect(ended.code == 0 && ended.output.hasPrefix("no record yet: "), "\(ended)")
            let json = try await box.json("ledger", "check", settings: settings)
            #expect(json["exists"] == .bool(false) && json["deployments"].isNull && json["problems"] == .array([]))
        }
        #expect(access(box.state, F_OK) != 0)
    }

    @Test("check says what there is and changes no byte of it")
    func check() async throws {
        try await deploy(2)
        let before = try await box.fingerprint(box.state)
        let json = try await box.json("ledger", "check")
        #expect(json["deployments"].int == 2 && json["runs"].int == 2 && json["running_runs"].int == 0, "\(json)")
        #expect(json["store"].string == "sqlite" && json["integrity"].string == "ok" && json["ledger"].string == file)
        #expect(json["journal_mode"].string == "wal" && json["writable"] == .bool(true))
        let text = try await box.agent("ledger", "check")
        #expect(text.code == 0 && text.output.contains("\ndeployments  2, 0 running; from 20"), "\(text)")
        #expect(try await box.fingerprint(box.state) == before)
    }

    @Test("check of a server's record describes the server, without credentials")
    func server() async throws {
        try await deploy(1)
        let url = try await database()
        _ = try await box.agent("ledger", "copy", file, url)
        let settings = ["AGENT_LEDGER_URL": url]
        let json = try await box.json("ledger", "check", settings: settings)
        #expect(json["store"].string == "postgresql" && json["deployments"].int == 1, "\(json)")
        #expect(json["pooled"] == .bool(false) && json["encryption"].string == "off" && json["leases"] == .array([]))
        let text = try await box.agent("ledger", "check", settings: settings)
        #expect(text.code == 0 && text.output.contains("\nserver       PostgreSQL "), "\(text)")
        #expect(text.output.contains("\nwarning: fsync = off"), "\(text)")
        #expect(!text.output.contains("s3cret") && !"\(json)".contains("s3cret"))
    }

    @Test("check ends with 1 when something is wrong, with 69 when the record cannot be reached")
    func codes() async throws {
        try await deploy(1)
        try await box.sh(
            """
            python3 -c 'import sqlite3; db = sqlite3.connect("state/ledger.sqlite"); \
            db.execute("UPDATE runs SET parent = 99"); db.commit()'
            """)
        let orphan = try await box.agent("ledger", "check")
        #expect(orphan.code == 1 && orphan.output.contains("\nproblem: run 1 has no deployment\n"), "\(orphan)")
        let away = try await box.agent(
            "ledger", "check", "--json",
            settings: ["AGENT_LEDGER_URL": "postgresql://u:hunter2@127.0.0.1:\(try await box.freePort())/x"])
        #expect(away.code == 69 && !away.errors.isEmpty, "\(away)")
        let json = try JSON(away.output)
        #expect(json["reachable"] == .bool(false) && json["exists"].isNull && json["problems"].items.count == 1)
        #expect(!(away.output + away.errors).contains("hunter2"))
    }
}

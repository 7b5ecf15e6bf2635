import Foundation
import Glibc
import TestSupport
import Testing

/// A record on a server that goes away and comes back.
@Suite(.timeLimit(.minutes(4)))
struct LedgerAwayTests {
    @Test("without the record nothing runs: run-once waits for it a while and ends with 69")
    func unreachable() async throws {
        let fleet = try await FleetBox()
        let port = try await fleet.box.freePort()
        let settings = fleet.settings(
            1,
            [
                "PRE_DEPLOY_COMMAND": "touch $OUT/ran", "AGENT_LEDGER_TIMEOUT": "5",
                "AGENT_LEDGER_URL": "postgresql://agent:s3cret-word@127.0.0.1:\(port)/postgres",
            ])
        let begin = ContinuousClock.now
        let once = try await fleet.box.once(settings)
        #expect(once.code == 69 && once.outcome == "unreachable" && !fleet.box.has("ran"))
        #expect(once.ended.errors.contains("tried again in") && ContinuousClock.now - begin >= .seconds(1))
        #expect(!once.ended.errors.contains("s3cret-word"))
    }

    @Test("a wrong password is said at once, without the password")
    func password() async throws {
        let fleet = try await FleetBox()
        let url = fleet.url.replacingOccurrences(of: "s3cret", with: "wr0ng-word")
        let once = try await fleet.box.once(
            fleet.settings(1, ["PRE_DEPLOY_COMMAND": "touch $OUT/ran", "AGENT_LEDGER_URL": url]))
        #expect(once.code == 69 && !fleet.box.has("ran"))
        #expect(once.ended.errors.contains("password authentication failed"))
        #expect(!once.ended.errors.contains("tried again") && !once.ended.errors.contains("wr0ng-word"))
    }

    @Test(
        "what a hook came to while the record was away is kept, also when the agent is killed, and delivered in order")
    func spooled() async throws {
        let cluster = try await PostgresCluster()
        let fleet = try await FleetBox(cluster)
        let settings = fleet.settings(
            1,
            [
                "PRE_DEPLOY_COMMAND": "echo pre >> $OUT/ran", "AGENT_LEDGER_TIMEOUT": "1s",
                "POST_DEPLOY_COMMAND": "echo post >> $OUT/ran; while [ ! -e $OUT/go ]; do sleep 0.02; done; echo done",
            ])
        let agent = try fleet.box.start("run", settings: settings)
        try await until("POST_DEPLOY runs", details: { agent.errors }) { fleet.box.lines("ran").last == "post" }
        try await cluster.stop()
        try fleet.box.touch("go")
        try await until("the result is tried in vain", details: { agent.errors }) {
            agent.errors.contains("trying again in")
        }
        kill(try await agent.started(), SIGKILL)
        _ = try await agent.ended()
        try await cluster.start()
        let once = try await fleet.box.once(settings)
        #expect(once.code == 0 && once.outcome == "unchanged", "\(once)")
        #expect(once.ended.errors.contains("delivered to the record"))
        #expect(fleet.box.lines("ran") == ["pre", "post"])
        #expect(try await fleet.query("SELECT status, settled FROM deployments") == ["succeeded|t"])
        #expect(
            try await fleet.query(
                "SELECT name, status, coalesce(tail, '') FROM runs LEFT JOIN run_outputs ON run = id ORDER BY id")
                == ["PRE_DEPLOY|succeeded|", "POST_DEPLOY|succeeded|done"])
    }

    @Test("a hook of the fleet whose lease cannot be renewed is ended before it is over; run-once ends with 75")
    func leaseLost() async throws {
        let cluster = try await PostgresCluster()
        let fleet = try await FleetBox(cluster)
        let settings = fleet.settings(
            1, ["PRE_DEPLOY_SCOPE": "fleet", "PRE_DEPLOY_COMMAND": "echo $$ > $OUT/pid; exec sleep 600"])
        let agent = try fleet.box.start("run-once", "--json", settings: settings)
        try await until("the hook runs", details: { agent.errors }) { fleet.box.has("pid") }
        try await cluster.stop()
        let begin = ContinuousClock.now
        try await until("the hook is ended", details: { agent.errors }) {
            fleet.box.lines("pid").first.flatMap(Int32.init).map { kill($0, 0) != 0 } ?? false
        }
        #expect(ContinuousClock.now - begin < .seconds(20))
        try await cluster.start()
        let ended = try await agent.ended()
        #expect(ended.code == 75 && ended.errors.contains("could not be renewed"), "\(ended)")
        #expect(try JSON(ended.output)["deployment"]["status"].string == "interrupted")
        #expect(try await fleet.query("SELECT status FROM runs") == ["interrupted"])
        // The lease was given up: nobody waits for it.
        let next = try await fleet.box.once(
            settings.merging(["PRE_DEPLOY_COMMAND": "echo $DEPLOY_FENCE > $OUT/fence"]) { $1 })
        #expect(next.outcome == "deployed" && fleet.box.lines("fence") == ["2"], "\(next)")
    }

    @Test("whoever keeps the record in a file needs no libpq")
    func libraries() async throws {
        let box = try await Box()
        #expect(try await box.sh("ldd '\(agentBinary)'").contains("libpq") == false)
    }

    @Test("the sidecar goes on without the record and deploys once it is back; so does the app of exec")
    func sidecar() async throws {
        let cluster = try await PostgresCluster()
        let fleet = try await FleetBox(cluster)
        let settings = fleet.settings(1, ["PRE_DEPLOY_COMMAND": "cat app.txt >> $OUT/ran"])
        let agent = try fleet.box.start(
            "exec", "--", "sh", "-c", "while :; do echo x >> $OUT/app; sleep 0.02; done", settings: settings)
        try await until("it is deployed", details: { agent.errors }) {
            // Also in the record: what is still to be written there is another test's.
            fleet.box.lines("ran") == ["v1"] && fleet.box.has("app") && agent.errors.contains("deployed ")
        }
        try await cluster.stop()
        try await fleet.box.commit(["app.txt": "v2\n"])
        try await until("it says so", details: { agent.errors }) { agent.errors.contains("cannot read the ledger") }
        let before = fleet.box.lines("app").count
        try await until("the app goes on") { fleet.box.lines("app").count > before }
        #expect(fleet.box.lines("ran") == ["v1"])
        try await cluster.start()
        try await until("the next commit is deployed", details: { agent.errors }) {
            fleet.box.lines("ran") == ["v1", "v2"]
        }
        kill(try await agent.started(), SIGTERM)
        _ = try await agent.ended()
    }
}

import Foundation
import Glibc
import TestSupport
import Testing

/// Hooks that run once for all hosts of a record on PostgreSQL.
@Suite(.timeLimit(.minutes(4)))
struct FleetHookTests {
    /// Notes its start and end with host and number, and takes its time in between.
    private func hook(_ seconds: String = "0.3", then end: String = ":") -> [String: String] {
        [
            "PRE_DEPLOY_SCOPE": "fleet",
            "PRE_DEPLOY_COMMAND":
                "echo \"start $HOST $DEPLOY_FENCE\" >> $OUT/trace; sleep \(seconds); \(end); echo \"end $HOST $DEPLOY_FENCE\" >> $OUT/trace",
        ]
    }

    @Test("20 agents at once on one commit: the hook runs once, all deploy, and every other record points to that run")
    func once() async throws {
        let fleet = try await FleetBox()
        let programs = try (0..<20).map {
            try fleet.box.start("run-once", "--json", settings: fleet.settings($0, hook()))
        }
        for program in programs {
            let ended = try await program.ended()
            #expect(ended.code == 0, "\(ended)")
        }
        #expect(fleet.box.lines("trace").count == 2)
        #expect(
            try await fleet.query("SELECT status, settled, count(*) FROM deployments GROUP BY 1, 2") == [
                "succeeded|t|20"
            ])
        let runs = try await fleet.query(
            """
            SELECT runs.status, runs.scope, runs.fence, runs.adopted = (SELECT id FROM runs WHERE adopted IS NULL), count(*)
            FROM runs GROUP BY 1, 2, 3, 4 ORDER BY 5
            """)
        #expect(runs == ["succeeded|fleet|1||1", "succeeded|fleet||t|19"])
        // One that arrives later finds it done; the next commit has the next number.
        let later = try await fleet.box.once(fleet.settings(20, hook()))
        #expect(later.outcome == "deployed" && fleet.box.lines("trace").count == 2)
        try await fleet.box.commit(["app.txt": "v2"])
        #expect(try await fleet.box.once(fleet.settings(3, hook())).outcome == "deployed")
        #expect(fleet.box.lines("trace").suffix(2) == ["start h3 2", "end h3 2"])
    }

    @Test(
        "a strict failure fails those that waited too; one that comes within the backoff takes it over; a retry goes round"
    )
    func failure() async throws {
        let fleet = try await FleetBox()
        let failing = hook("0.5", then: "test -e $OUT/good || exit 1").merging(["GITHUB_SYNC_INTERVAL": "60"]) { $1 }
        let programs = try (0..<4).map {
            try fleet.box.start("run-once", "--json", settings: fleet.settings($0, failing))
        }
        for program in programs {
            let ended = try await program.ended()
            #expect(ended.code == 1, "\(ended)")
        }
        #expect(fleet.box.lines("trace").filter { $0.hasPrefix("start") }.count == 1)
        #expect(try await fleet.box.once(fleet.settings(5, failing)).outcome == "failed")
        #expect(fleet.box.lines("trace").filter { $0.hasPrefix("start") }.count == 1)
        let message = try await fleet.query("SELECT error_message FROM deployments ORDER BY id DESC LIMIT 1").first
        #expect(message?.contains("PRE_DEPLOY failed: exit code 1 (run ") == true)
        // A person's second try on a host does run it.
        try fleet.box.touch("good")
        #expect(try await fleet.box.once(fleet.settings(2, failing)).outcome == "deployed")
        #expect(try await fleet.box.once(fleet.settings(3, failing)).outcome == "deployed")
        #expect(fleet.box.lines("trace").filter { $0.hasPrefix("start") }.count == 2)
    }

    @Test("kill -9 of the holder: its hook is ended, another host takes over within 25 s, the run is interrupted")
    func killed() async throws {
        let fleet = try await FleetBox()
        let holder = try fleet.box.start("run", settings: fleet.settings(1, hook("600")))
        try await until("the hook runs", details: { holder.errors }) { fleet.box.has("trace") }
        let other = try fleet.box.start("run", settings: fleet.settings(2, hook("0")))
        try await until("the other waits", details: { other.errors }) {
            other.errors.contains("waiting: h1 runs PRE_DEPLOY")
        }
        kill(try await holder.started(), SIGKILL)
        let killed = ContinuousClock.now
        // Long before its lease ends.
        try await until("the hook's processes are gone", within: 12) {
            !Processes.carrying(fleet.box.mark).contains { Processes.commandLine($0).hasPrefix("sleep 600") }
        }
        try await until("the other has run it", details: { other.errors }) {
            fleet.box.lines("trace").last == "end h2 2"
        }
        #expect(ContinuousClock.now - killed < .seconds(25))
        try await until("it is recorded") {
            try await fleet.query("SELECT status, fence FROM runs ORDER BY id") == ["interrupted|1", "succeeded|2"]
        }
    }

    @Test(
        "a holder that was paused past its lease: its hook has ended before the other begins, its result counts for nothing"
    )
    func paused() async throws {
        let fleet = try await FleetBox()
        let lock = "exec 9> $OUT/lock; flock -n 9 || echo overlap >> $OUT/overlap; "
        var slow = hook("600")
        slow["PRE_DEPLOY_COMMAND"] = lock + (slow["PRE_DEPLOY_COMMAND"] ?? "")
        var quick = hook("0")
        quick["PRE_DEPLOY_COMMAND"] = lock + (quick["PRE_DEPLOY_COMMAND"] ?? "")
        let holder = try fleet.box.start("run", settings: fleet.settings(1, slow))
        try await until("the hook runs", details: { holder.errors }) { fleet.box.has("trace") }
        let other = try fleet.box.start("run", settings: fleet.settings(2, quick))
        try await until("the other waits", details: { other.errors }) { other.errors.contains("waiting: h1") }
        let pid = try await holder.started()
        kill(pid, SIGSTOP)
        try await until("the other has run it", details: { other.errors }) {
            fleet.box.lines("trace").last == "end h2 2"
        }
        #expect(!fleet.box.has("overlap"))
        kill(pid, SIGCONT)
        try await until("the holder says so", details: { holder.errors }) {
            holder.errors.contains("here is not recorded")
        }
        try await until("it takes the other's result over", details: { holder.errors }) {
            holder.errors.contains("PRE_DEPLOY succeeded on h2")
        }
        try await until("it is recorded") {
            try await fleet.query("SELECT status, fence FROM runs WHERE adopted IS NULL ORDER BY id")
                == ["interrupted|1", "succeeded|2"]
        }
    }

    @Test("POST_DEPLOY for the fleet: a lenient failure is a warning on every host and is not run again")
    func lenientPost() async throws {
        let fleet = try await FleetBox()
        let failing = [
            "POST_DEPLOY_SCOPE": "Fleet", "POST_DEPLOY_COMMAND": "echo $HOST $DEPLOY_FENCE >> $OUT/post; exit 3",
            "PRE_DEPLOY_COMMAND": "echo \"$HOST fence=$DEPLOY_FENCE\" >> $OUT/pre",
        ]
        for host in 1...3 {
            let once = try await fleet.box.once(fleet.settings(host, failing))
            #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 1, "\(once)")
        }
        #expect(fleet.box.lines("post") == ["h1 1"])
        // A hook of the host runs on each, and has no number.
        #expect(fleet.box.lines("pre") == ["h1 fence=", "h2 fence=", "h3 fence="])
        let adopted = try await fleet.query(
            "SELECT adopted, exit_code FROM runs WHERE name = 'POST_DEPLOY' AND adopted IS NOT NULL")
        let own = try await fleet.query("SELECT id FROM runs WHERE name = 'POST_DEPLOY' AND adopted IS NULL")
        #expect(adopted == own.flatMap { ["\($0)|3", "\($0)|3"] })
    }

    @Test("--force runs it again, under the next number")
    func forced() async throws {
        let fleet = try await FleetBox()
        #expect(try await fleet.box.once(fleet.settings(1, hook("0"))).outcome == "deployed")
        #expect(try await fleet.box.once(fleet.settings(1, hook("0")), force: true).outcome == "deployed")
        #expect(fleet.box.lines("trace") == ["start h1 1", "end h1 1", "start h1 2", "end h1 2"])
    }

    @Test("a stop gives the lease up at once")
    func stopped() async throws {
        let fleet = try await FleetBox()
        let holder = try fleet.box.start("run", settings: fleet.settings(1, hook("600")))
        try await until("the hook runs", details: { holder.errors }) { fleet.box.has("trace") }
        let other = try fleet.box.start("run", settings: fleet.settings(2, hook("0")))
        try await until("the other waits", details: { other.errors }) { other.errors.contains("waiting: h1") }
        kill(try await holder.started(), SIGTERM)
        let begin = ContinuousClock.now
        try await until("the other has run it", details: { other.errors }) {
            fleet.box.lines("trace").last == "end h2 2"
        }
        #expect(ContinuousClock.now - begin < .seconds(12), "a lease that is not given up lasts 15 s at least")
        #expect(try await holder.ended().code == 0)
    }

    @Test("a hook for the fleet needs PostgreSQL: 78 and the setting's name")
    func needsPostgres() async throws {
        let box = try await Box()
        let once = try await box.once(["PRE_DEPLOY_COMMAND": "true", "PRE_DEPLOY_SCOPE": "fleet"])
        #expect(once.code == 78 && once.ended.errors.contains("PRE_DEPLOY_SCOPE: \"fleet\" needs a PostgreSQL ledger"))
    }

    @Test(
        "a guard that is woken late gives no time that the lease has not: what ignores SIGTERM is killed right after it"
    )
    func lateGuard() async throws {
        let box = try await Box()
        let mark = "late-\(box.mark)"
        try box.write("marker=\(mark)\n", to: box.root + "/mark")
        let loop = "trap 'note term' TERM; touch $OUT/ready; while :; do note alive; sleep 0.1; done"
        let victim = try box.start(
            program: ["bash", "-c", "note() { read -r up _ < /proc/uptime; echo $1 $up >> $OUT/notes; }; \(loop)"],
            ["DEPLOY_RUN_UUID": mark])
        try await until("it runs") { box.has("ready") }
        // Its deadline was at the boot; its agent, the pipe's other end, lives.
        let guardian = try box.start(program: ["sh", "-c", "sleep 60 | '\(agentBinary)' guard-run mark 10000 1"])
        #expect(try await victim.ended().code != 0)
        let notes = box.lines("notes").map { $0.split(separator: " ") }
        let term = try #require(
            notes.first { $0[0] == "term" }.flatMap { Double($0[1]) } ?? notes.last.flatMap { Double($0[1]) })
        let last = try #require(notes.last.flatMap { Double($0[1]) })
        #expect(last - term < 2, "\(last - term) s after SIGTERM")
        withExtendedLifetime(guardian) {}
    }
}

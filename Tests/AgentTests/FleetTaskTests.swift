import Foundation
import Glibc
import TestSupport
import Testing

/// One-time tasks of several machines that share a record on PostgreSQL.
@Suite(.timeLimit(.minutes(4)), .fewAtOnce)
struct FleetTaskTests {
    private func commit(_ box: Box, _ tasks: (id: String, rest: String)...) async throws {
        let entries = tasks.map { task in
            "  - id: \(task.id)\n    run: echo \"$DEPLOY_TASK $HOST $DEPLOY_FENCE\" >> $OUT/trace\(task.rest)\n"
        }
        try await box.commit(["deploy.yaml": "tasks:\n" + entries.joined()])
    }

    @Test("20 machines that start at once with 10 tasks: each runs once, and all are done before any POST_DEPLOY")
    func once() async throws {
        let fleet = try await FleetBox()
        let tasks = (0..<10).map { "  - id: t\($0)\n    run: echo \"$DEPLOY_TASK\" >> $OUT/trace; sleep 0.05\n" }
        try await fleet.box.commit(["deploy.yaml": "tasks:\n" + tasks.joined()])
        let hooks = ["POST_DEPLOY_COMMAND": "wc -l < $OUT/trace >> $OUT/seen"]
        let programs = try (0..<20).map {
            try fleet.box.start("run-once", "--json", settings: fleet.settings($0, hooks))
        }
        var (ran, skipped) = (0, 0)
        for program in programs {
            let ended = try await program.ended()
            #expect(ended.code == 0, "\(ended)")
            let counts = try JSON(ended.output)["deployment"]["tasks"]
            ran += counts["ran"].int ?? 0
            skipped += counts["skipped"].int ?? 0
        }
        #expect(fleet.box.lines("trace").sorted() == (0..<10).map { "t\($0)" })
        #expect(ran == 10 && skipped == 190)
        #expect(Set(fleet.box.lines("seen")) == ["10"])
        let rows = try await fleet.query("SELECT count(*), count(completed_at), min(result) FROM deploy_tasks")
        #expect(rows == ["10|10|success"])
        #expect(try await fleet.query("SELECT count(*), min(scope) FROM runs WHERE kind = 'task'") == ["10|fleet"])
    }

    @Test(
        "others wait for before-app tasks, at most the task's timeout, then go on with a warning; not for after-app ones"
    )
    func patience() async throws {
        let fleet = try await FleetBox()
        let await_ = Hooks.await_("go")
        func tasks(timeout: Int) -> String {
            """
            tasks:
              - { id: late-v1, run: '\(await_)', timeout: 60, when: after-app }
              - { id: slow-v1, run: 'touch $OUT/began; \(await_)', timeout: \(timeout) }
            """
        }
        try await fleet.box.commit(["deploy.yaml": tasks(timeout: 60)])
        try fleet.box.write(tasks(timeout: 1), to: fleet.box.root + "/impatient.yaml")
        let first = try fleet.box.start("run-once", settings: fleet.settings(0))
        try await until("it runs", details: { first.errors }) { fleet.box.has("began") }
        let second = try fleet.box.start(
            "run-once", "--json", settings: fleet.settings(1, ["AGENT_DEPLOY_FILE": fleet.box.root + "/impatient.yaml"])
        )
        try await until("the second one's after-app task runs", details: { second.errors }) {
            second.errors.contains("task late-v1: ")
        }
        #expect(second.errors.contains("task slow-v1 still runs on h0 (run "), "\(second.errors)")
        // Nobody waits for a task that is after the app.
        let third = try await fleet.box.once(
            fleet.settings(2, ["AGENT_DEPLOY_FILE": fleet.box.root + "/impatient.yaml"]))
        #expect(third.outcome == "deployed" && third.ended.errors.contains("task late-v1 runs on h1"), "\(third)")
        #expect(third.deployment["tasks"]["skipped"].int == 2 && third.deployment["warnings"].int == 1)
        try fleet.box.touch("go")
        for program in [first, second] { #expect(try await program.ended().code == 0) }
    }

    @Test("kill -9 of the machine that runs one: another takes over within 25 s, and no two overlap")
    func takeover() async throws {
        let fleet = try await FleetBox()
        try await commit(fleet.box, ("long-v1", "; \(Hooks.exclusive) touch $OUT/began; test -e $OUT/go || sleep 1000"))
        let holder = try fleet.box.start("run", settings: fleet.settings(0))
        try await until("it runs", details: { holder.errors }) { fleet.box.has("began") }
        let other = try fleet.box.start("run-once", "--json", settings: fleet.settings(1))
        try await until("the other waits", details: { other.errors }) { other.errors.contains("runs task long-v1") }
        try fleet.box.touch("go")
        try await holder.send(SIGKILL)
        let begin = ContinuousClock.now
        let ended = try await other.ended()
        #expect(ContinuousClock.now - begin < .seconds(27))
        let ran = try JSON(ended.output)["tasks"]["ran"].int
        #expect(ended.code == 0 && ran == 1, "\(ended)")
        #expect(fleet.box.lines("trace") == ["long-v1 h0 1", "long-v1 h1 2"] && !fleet.box.has("overlap"))
        let runs = try await fleet.query("SELECT status, fence FROM runs WHERE kind = 'task' ORDER BY id")
        #expect(runs == ["interrupted|1", "succeeded|2"])
    }

    @Test("another program's table is used: what it has as done does not run")
    func table() async throws {
        let fleet = try await FleetBox()
        let table = "public.\(uniqueText())"
        _ = try await fleet.query(
            """
            CREATE TABLE \(table) (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT);
            INSERT INTO \(table) VALUES ('old-v1', now(), 'success'), ('tried-v1', NULL, 'it failed')
            """)
        try await commit(fleet.box, ("old-v1", ""), ("tried-v1", ""), ("new-v1", ""))
        let once = try await fleet.box.once(fleet.settings(0, ["AGENT_TASKS_TABLE": table]))
        #expect(once.deployment["tasks"]["ran"].int == 2 && once.deployment["tasks"]["skipped"].int == 1, "\(once)")
        #expect(
            try await fleet.query("SELECT id, completed_at IS NOT NULL, result FROM \(table) ORDER BY id") == [
                "new-v1|t|success", "old-v1|t|success", "tried-v1|t|success",
            ])
        let wrong = try await fleet.box.agent("check", settings: fleet.settings(0, ["AGENT_TASKS_TABLE": "a.b.c"]))
        #expect(wrong.code == 78 && wrong.errors.contains("AGENT_TASKS_TABLE"), "\(wrong)")
        // One that cannot be used is a warning; the deployment goes on.
        _ = try await fleet.query("ALTER TABLE \(table) DROP COLUMN result")
        let broken = try await fleet.box.once(fleet.settings(0, ["AGENT_TASKS_TABLE": table]), force: true)
        #expect(broken.outcome == "deployed", "\(broken)")
        #expect(broken.json["tasks"]["error"].string?.contains("no column result") == true, "\(broken)")
    }

    @Test("a table that does not take a task's row: that task does not run, the others do, and the deployment says why")
    func narrowTable() async throws {
        let fleet = try await FleetBox()
        let table = uniqueText()
        _ = try await fleet.query(
            "CREATE TABLE public.\(table) (id VARCHAR(10) PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT)")
        try await commit(fleet.box, ("much-too-long-v1", ""), ("short-v1", ""))
        let once = try await fleet.box.once(fleet.settings(0, ["AGENT_TASKS_TABLE": table.uppercased()]))
        let tasks = once.deployment["tasks"]
        #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 1, "\(once)")
        #expect(tasks["ran"].int == 1 && tasks["skipped"].int == 1 && tasks["failed"].int == 0, "\(once)")
        #expect(tasks["error"].string?.contains("task much-too-long-v1: cannot write") == true, "\(once)")
        #expect(fleet.box.lines("trace") == ["short-v1 h0 1"])
        #expect(try await fleet.query("SELECT id FROM public.\(table)") == ["short-v1"])
    }

    @Test("a table that was named and is not there is made, with a warning: its name may be mistyped")
    func newTable() async throws {
        let fleet = try await FleetBox()
        let table = uniqueText()
        try await commit(fleet.box, ("new-v1", ""))
        let once = try await fleet.box.agent("run-once", settings: fleet.settings(0, ["AGENT_TASKS_TABLE": table]))
        #expect(once.code == 0 && once.errors.contains("AGENT_TASKS_TABLE: there was no table"), "\(once)")
        let again = try await fleet.box.agent(
            "run-once", "--force", settings: fleet.settings(0, ["AGENT_TASKS_TABLE": table]))
        #expect(again.code == 0 && !again.errors.contains("there was no table"), "\(again)")
    }

    @Test(
        "on PostgreSQL too: one that hangs is ended, one that floods is kept short, one that leaves something behind is done"
    )
    func unruly() async throws {
        let fleet = try await FleetBox()
        try await fleet.box.commit([
            "deploy.yaml": """
            tasks:
              - id: hangs-v1
                timeout: 500ms
                run: trap '' TERM; (trap '' TERM; setsid sleep 1000) & while :; do sleep 1; done
              - id: floods-v1
                run: head -c 50000000 /dev/zero | tr '\\0' 'x'
              - id: leaves-v1
                run: setsid sleep 1000 & echo $! > $OUT/left
            """
        ])
        let once = try await fleet.box.once(fleet.settings(0, ["AGENT_KILL_GRACE": "300ms"]))
        let runs = once.runs.map { "\($0["name"].string ?? "") \($0["status"].string ?? "")" }
        #expect(runs == ["hangs-v1 timed_out", "floods-v1 succeeded", "leaves-v1 succeeded"], "\(once.json["tasks"])")
        #expect(once.runs.allSatisfy { ($0["output_tail"].string?.utf8.count ?? 0) <= 65536 })
        let left = try #require(fleet.box.lines("left").first.flatMap(Int32.init))
        #expect(fleet.box.survivors() == [left])
        let rows = try await fleet.query("SELECT id, completed_at IS NULL, result FROM deploy_tasks ORDER BY id")
        #expect(rows.count == 3 && rows[1].hasPrefix("hangs-v1|t|") && rows[0] == "floods-v1|f|success", "\(rows)")
    }

    @Test("the file may change between attempts, on another host too; the attempts are counted over both")
    func changedBetween() async throws {
        let fleet = try await FleetBox()
        try await fleet.box.commit(["deploy.yaml": "tasks: [{ id: fix-v1, run: 'exit 1' }]"])
        #expect(try await fleet.box.once(fleet.settings(0)).deployment["tasks"]["failed"].int == 1)
        try await fleet.box.commit(["deploy.yaml": "tasks: [{ id: fix-v1, run: 'echo mended > $OUT/trace' }]"])
        let second = try await fleet.box.once(fleet.settings(1))
        #expect(second.deployment["tasks"]["ran"].int == 1 && fleet.box.lines("trace") == ["mended"], "\(second)")
        #expect(second.runs.first?["attempt"].int == 2 && second.runs.first?["fence"].int == 2)
    }

    @Test("a database that is read-only: nothing runs, and why is said; once it may be written the task runs")
    func readOnly() async throws {
        let fleet = try await FleetBox()
        try await commit(fleet.box, ("first-v1", ""))
        #expect(try await fleet.box.once(fleet.settings(0)).outcome == "deployed")
        try await commit(fleet.box, ("first-v1", ""), ("second-v1", ""))
        let url = fleet.url + (fleet.url.contains("?") ? "&" : "?") + "options=-c%20default_transaction_read_only%3Don"
        let readOnly = fleet.settings(0, ["AGENT_LEDGER_URL": url, "AGENT_LEDGER_TIMEOUT": "1s"])
        let refused = try await fleet.box.agent("run-once", settings: readOnly)
        #expect(refused.code == 69 && refused.errors.contains("read-only"), "\(refused)")
        #expect(fleet.box.lines("trace") == ["first-v1 h0 1"])
        #expect(try await fleet.box.once(fleet.settings(0)).deployment["tasks"]["ran"].int == 1)
        #expect(fleet.box.lines("trace") == ["first-v1 h0 1", "second-v1 h0 1"])
    }
}

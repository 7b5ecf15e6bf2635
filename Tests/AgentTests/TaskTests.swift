import Foundation
import Glibc
import Testing

/// One-time tasks of one machine, with the built binary.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct TaskTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// Notes itself in `$OUT/trace`.
    private static func task(_ id: String, _ rest: String = "", then end: String = ":") -> String {
        """
          - id: \(id)
            run: |
              echo "$DEPLOY_TASK" >> "$OUT/trace"; \(end)
            \(rest)

        """
    }

    private func commit(_ tasks: String..., file: String = "deploy.yaml") async throws {
        try await box.commit([file: "tasks:\n" + tasks.joined()])
    }

    private static let hooks = [
        "PRE_DEPLOY_COMMAND": "echo pre >> $OUT/trace", "POST_DEPLOY_COMMAND": "echo post >> $OUT/trace",
    ]

    private func counts(_ json: JSON) -> [Int?] { ["ran", "skipped", "failed"].map { json[$0].int } }

    private var trace: [String] { box.lines("trace") }

    // MARK: - In a deployment

    @Test(
        "after PRE_DEPLOY and publishing, in the order of the list, before-app before POST_DEPLOY, after-app after it")
    func order() async throws {
        try await commit(
            Self.task("late", "when: after-app"),
            Self.task("b-first", then: "cat \"$WORKSPACE_PATH/app.txt\" >> $OUT/app; pwd >> $OUT/pwd"),
            Self.task("a-second", "when: before-app"))
        let once = try await box.once(Self.hooks)
        #expect(once.outcome == "deployed", "\(once)")
        #expect(trace == ["pre", "b-first", "a-second", "post", "late"])
        #expect(box.lines("app") == ["v1"] && box.lines("pwd") == [box.workspace])
        #expect(counts(once.deployment["tasks"]) == [3, 0, 0] && counts(once.json["tasks"]) == [3, 0, 0])
        #expect(once.deployment["tasks"]["error"] == .null && once.deployment["warnings"].int == 0)
        let runs = once.runs.map { [$0["kind"].string, $0["name"].string, $0["hook"].string, $0["status"].string] }
        #expect(
            runs == [
                ["hook", "PRE_DEPLOY", "PRE_DEPLOY", "succeeded"], ["task", "b-first", nil, "succeeded"],
                ["task", "a-second", nil, "succeeded"], ["hook", "POST_DEPLOY", "POST_DEPLOY", "succeeded"],
                ["task", "late", nil, "succeeded"],
            ])
        #expect(once.ended.errors.contains("tasks: ran: 3, skipped: 0, failed: 0"))
    }

    @Test("a task that is done never runs again: new commit, new state, going back, --force")
    func once() async throws {
        let first = try await box.head(of: box.work)
        try await commit(Self.task("seed-v1"))
        let listed = try await box.head(of: box.work)
        let ledger = ["AGENT_LEDGER_URL": "sqlite:\(box.root)/kept/ledger.sqlite"]
        try await box.sh("mkdir kept")
        #expect(counts(try await box.once(ledger).json["tasks"]) == [1, 0, 0])
        try await box.commit(["app.txt": "v2"])
        let next = try await box.once(ledger)
        #expect(counts(next.deployment["tasks"]) == [0, 1, 0], "\(next)")
        // A new container: only the record is left.
        try await box.sh("rm -rf state ws")
        #expect(counts(try await box.once(ledger, force: true).json["tasks"]) == [0, 1, 0])
        // Back to the commit that brought it.
        try await box.sh("git push -q -f origin \(listed):main", in: box.work)
        let rollback = try await box.once(ledger)
        #expect(rollback.outcome == "deployed" && counts(rollback.deployment["tasks"]) == [0, 1, 0], "\(rollback)")
        try await box.sh("git push -q -f origin \(first):main", in: box.work)
        let back = try await box.once(ledger)
        #expect(back.outcome == "deployed" && back.deployment["tasks"] == .null, "\(back)")
        #expect(trace == ["seed-v1"])
        let rows = try await box.sh(
            "sqlite3 kept/ledger.sqlite 'SELECT id, completed_at IS NOT NULL, result FROM deploy_tasks'")
        #expect(rows == "seed-v1|1|success")
    }

    @Test("one that puts itself off at every check leaves a hundred runs, and their logs")
    func manyDeferrals() async throws {
        try await commit(Self.task("not-yet", then: "exit 75"))
        #expect(try await box.once().outcome == "deployed")
        let columns =
            "kind, name, parent_kind, parent, app, host, workspace, marker, command, folder, mode, timeout_ms, attempt, scope, "
            + "status, started_at"
        try await box.sh(
            """
            sqlite3 state/ledger.sqlite "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
                INSERT INTO runs (\(columns)) SELECT \(columns) FROM runs, n WHERE name = 'not-yet'"
            for run in $(sqlite3 state/ledger.sqlite 'SELECT id FROM runs'); do touch state/logs/$run.log; done
            """)
        let again = try await box.once()
        #expect(again.outcome == "unchanged" && trace == ["not-yet", "not-yet"], "\(again)")
        let kept = "SELECT count(*) FROM runs WHERE status = 'deferred'"
        #expect(try await box.sh("sqlite3 state/ledger.sqlite \"\(kept)\"; ls state/logs | wc -l") == "100\n100")
    }

    @Test("a failed task stops nothing, is recorded with its error, and is tried again as often as its retries allow")
    func failure() async throws {
        try await commit(
            Self.task("bad-v1", "retries: 1", then: "echo 'ERROR:  no such table' >&2; exit 3"), Self.task("good-v1"))
        let once = try await box.once(Self.hooks)
        #expect(once.code == 0 && once.outcome == "deployed" && once.deployment["status"].string == "succeeded")
        #expect(trace == ["pre", "bad-v1", "good-v1", "post"])
        #expect(counts(once.deployment["tasks"]) == [1, 0, 1] && once.deployment["warnings"].int == 1)
        let run = try #require(once.runs.first { $0["name"].string == "bad-v1" })
        #expect(run["exit_code"].int == 3 && run["error_message"].string == "exit code 3: ERROR:  no such table")
        #expect(run["attempt"].int == 1 && run["entry_hash"].string?.count == 64)
        #expect(run["output_tail"].string == "ERROR:  no such table\n" && (run["duration_ms"].int ?? -1) >= 0)
        // The commit is deployed; the task is not done.
        let again = try await box.once(Self.hooks)
        #expect(again.outcome == "unchanged" && counts(again.json["tasks"]) == [0, 1, 1], "\(again)")
        let third = try await box.once(Self.hooks)
        #expect(
            counts(third.json["tasks"]) == [0, 2, 0] && third.ended.errors.contains("retries are used up"), "\(third)")
        #expect(trace.filter { $0 == "bad-v1" }.count == 2)
        let listed = try await box.json("tasks").items
        #expect(listed.map { $0["status"].string } == ["failed", "done"] && listed[0]["failures"].int == 2)
        #expect(listed[0]["retry_at"] == .null && listed[0]["result"].string == "exit code 3: ERROR:  no such table")
        #expect(listed[0]["commit"].string == once.deployment["commit"].string && listed[0]["exit_code"].int == 3)
        #expect(listed[0]["host"].string == once.deployment["host"].string && listed[0]["attempts"].int == 2)
        let retried = try await box.json("tasks", "retry", "bad-v1")
        #expect(retried["status"].string == "pending", "\(retried)")
        let action = try #require(retried["actions"].items.first)
        #expect(action["action"].string == "retry" && action["user"].string != nil && action["at"].string != nil)
        #expect(action["host"].string == once.deployment["host"].string)
        #expect(counts(try await box.once(Self.hooks).json["tasks"]) == [0, 1, 1])
    }

    @Test("nothing runs on top of a PRE_DEPLOY that failed, strict or lenient")
    func afterFailure() async throws {
        try await commit(Self.task("seed-v1"))
        let strict = try await box.once(["PRE_DEPLOY_COMMAND": "exit 1"])
        #expect(strict.outcome == "failed" && strict.deployment["tasks"] == .null)
        let lenient = try await box.once(["PRE_DEPLOY_COMMAND": "exit 1", "PRE_DEPLOY_MODE": "lenient"])
        #expect(lenient.outcome == "deployed" && trace == [], "\(lenient)")
        #expect(try await box.once(["POST_DEPLOY_COMMAND": "true"], force: true).outcome == "deployed")
        #expect(trace == ["seed-v1"])
    }

    @Test(
        "one that hangs is ended with all that it started; one that floods or leaves something behind is none's problem"
    )
    func unruly() async throws {
        try await commit(
            Self.task(
                "hangs-v1", "timeout: 500ms",
                then: Hooks.stubborn.replacing("\n", with: "; ").replacing("&;", with: "&")),
            Self.task("floods-v1", then: "head -c 50000000 /dev/zero | tr '\\\\0' 'x'"),
            Self.task("leaves-v1", then: "setsid sleep 1000 & echo $! > $OUT/left"))
        let once = try await box.once(Self.hooks)
        #expect(once.outcome == "deployed" && counts(once.deployment["tasks"]) == [2, 0, 1], "\(once.json["tasks"])")
        let statuses = once.runs.filter { $0["kind"].string == "task" }.map { $0["status"].string }
        #expect(statuses == ["timed_out", "succeeded", "succeeded"])
        #expect(once.runs.allSatisfy { ($0["output_tail"].string?.utf8.count ?? 0) <= 65536 })
        let left = try #require(box.lines("left").first.flatMap(Int32.init))
        #expect(box.survivors() == [left])
    }

    // MARK: - At a start

    @Test("SIGKILL in a task: at the next start what is left is ended, and the task runs again; no two at a time")
    func killed() async throws {
        try await commit(
            Self.task("long-v1", then: "\(Hooks.exclusive) touch $OUT/began; test -e $OUT/go || sleep 1000"))
        let first = try box.start("run")
        try await until("the task runs", details: { first.errors }) { box.has("began") }
        try await first.send(SIGKILL)
        _ = try await first.ended()
        try box.touch("go")
        let second = try await box.once()
        #expect(second.outcome == "deployed" && counts(second.deployment["tasks"]) == [1, 0, 0], "\(second)")
        #expect(!box.has("overlap") && trace == ["long-v1", "long-v1"])
        let task = try #require(try await box.json("tasks").items.first)
        #expect(task["status"].string == "done" && task["attempts"].int == 2 && task["failures"].int == 0)
    }

    @Test(
        "a start of run, or SIGHUP, tries what is not done, although the commit is deployed",
        arguments: ["start", "hangup"])
    func start(how: String) async throws {
        try await commit(Self.task("seed-v1", then: "test -e $OUT/good"))
        // Longer than the test: only the start, or the signal, makes it run.
        let settings = ["GITHUB_SYNC_INTERVAL": "200ms"]
        if how == "start" {
            #expect(counts(try await box.once(settings).json["tasks"]) == [0, 0, 1])
            try box.touch("good")
        }
        let agent = try box.start("run", settings: settings)
        if how == "hangup" {
            try await until("it failed", details: { agent.errors }) { agent.errors.contains("task seed-v1 failed") }
            try box.touch("good")
            try await agent.send(SIGHUP)
        }
        try await until("it succeeded", details: { agent.errors }) { agent.errors.contains("task seed-v1 succeeded") }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        let history = try await box.history()
        #expect(trace.count == 2 && history.count == 1)
    }

    @Test("one whose backoff is not over at a start is tried by that agent once it is")
    func backoff() async throws {
        try await commit(Self.task("seed-v1", then: "test -e $OUT/good"))
        #expect(counts(try await box.once(["GITHUB_SYNC_INTERVAL": "12"]).json["tasks"]) == [0, 0, 1])
        try box.touch("good")
        let agent = try box.start("run", settings: ["GITHUB_SYNC_INTERVAL": "60"])
        try await until("it is passed over", details: { agent.errors }) {
            agent.errors.contains("task seed-v1 is not run")
        }
        try await until("it succeeded", details: { agent.errors }) { agent.errors.contains("task seed-v1 succeeded") }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test("one whose retries are used up is passed over once at a start, and never looked at again by itself")
    func usedUp() async throws {
        try await commit(Self.task("bad-v1", "retries: 0", then: "exit 3"))
        let settings = ["GITHUB_SYNC_INTERVAL": "300ms"]
        #expect(counts(try await box.once(settings).json["tasks"]) == [0, 0, 1])
        #expect(try await box.json("tasks").items.first?["retry_at"] == .null)
        // Longer ago than any backoff of it.
        try await box.sh("sqlite3 state/ledger.sqlite 'UPDATE outcomes SET retry_at = 1000'")
        let agent = try box.start("run", settings: settings)
        try await box.atRest(after: 1, agent)
        let checks = try await box.json("status")["last_check"].string
        try await until("more checks were made", details: { agent.errors }) {
            try await box.json("status")["last_check"].string != checks
        }
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
        #expect(agent.errors.matches(of: /task bad-v1 is not run/).count == 1, "\(agent.errors.prefix(2000))")
    }

    @Test("after a PRE_DEPLOY that was lenient and failed no start runs a task, until a deployment has passed it")
    func lenientStart() async throws {
        try await commit(Self.task("seed-v1"))
        let lenient = ["PRE_DEPLOY_COMMAND": "exit 1", "PRE_DEPLOY_MODE": "lenient"]
        for _ in 0..<2 { #expect(try await box.once(lenient).code == 0) }
        #expect(trace == [])
    }

    @Test("with exec: before-app before the app starts, after-app once it runs, at a start without a deployment too")
    func exec() async throws {
        try await commit(
            Self.task("before", then: "test -e $OUT/good"),
            Self.task("after", "when: after-app", then: "test -e $OUT/good"))
        #expect(counts(try await box.once().json["tasks"]) == [0, 0, 2])
        try box.touch("good")
        try await Task.sleep(for: .milliseconds(1100))
        let program = try box.start(
            program: [
                agentBinary, "exec", "--", "sh", "-c", "echo app >> $OUT/trace; " + Hooks.await_("end") + "exit 0",
            ], ["AGENT_ON_START": "changed"])
        try await until("all have run", details: { program.errors }) { trace.count >= 5 }
        // After-app waits for the start of the app, not for what it says first.
        #expect(trace.filter { $0 != "app" } == ["before", "after", "before", "after"])
        #expect(trace.firstIndex(of: "app").map { $0 >= 3 } == true, "\(trace)")
        try box.touch("end")
        #expect(try await program.ended().code == 0)
    }

    @Test("an app starts although a task before it failed, and another one took too long")
    func execAfterFailure() async throws {
        try await commit(
            Self.task("bad-v1", then: "exit 1"), Self.task("slow-v1", "timeout: 4s", then: "sleep 1000"))
        let program = try box.start(
            program: [agentBinary, "exec", "--", "sh", "-c", "echo app >> $OUT/trace; exit 7"])
        #expect(try await program.ended().code == 7)
        #expect(trace == ["bad-v1", "slow-v1", "app"])
        let deployment = try #require(try await box.history().first)
        #expect(
            deployment["status"].string == "succeeded" && counts(deployment["tasks"]) == [0, 0, 2], "\(deployment)")
    }

    @Test("an entry may change as long as it is not done: the next attempt runs what the file says then")
    func changedBetween() async throws {
        try await commit(Self.task("fix-v1", then: "exit 1"))
        let first = try await box.once()
        try await commit(Self.task("fix-v1", then: "echo mended >> $OUT/trace"))
        let second = try await box.once()
        #expect(counts(first.deployment["tasks"]) == [0, 0, 1] && counts(second.deployment["tasks"]) == [1, 0, 0])
        #expect(trace == ["fix-v1", "fix-v1", "mended"] && !second.ended.errors.contains("has changed"), "\(second)")
        #expect(second.runs.first?["attempt"].int == 2)
        #expect(second.runs.first?["entry_hash"].string != first.runs.first?["entry_hash"].string)
    }

    @Test("a table that was made by hand with the three columns says what is done")
    func handMade() async throws {
        try await commit(Self.task("old-v1"), Self.task("new-v1"))
        try await box.cloneWorkspace()
        _ = try await box.json("tasks", "done", "other-v1", "--yes")
        try await box.sh(
            """
            sqlite3 state/ledger.sqlite "DROP TABLE deploy_tasks;
            CREATE TABLE deploy_tasks (id TEXT PRIMARY KEY, completed_at TIMESTAMPTZ, result TEXT);
            INSERT INTO deploy_tasks VALUES ('old-v1', '2026-01-02 03:04:05', 'success')"
            """)
        let once = try await box.once()
        #expect(counts(once.deployment["tasks"]) == [1, 1, 0] && trace == ["new-v1"], "\(once)")
        let listed = try await box.json("tasks").items
        #expect(listed.map { $0["status"].string } == ["done", "done", "gone"])
        #expect(listed[0]["completed_at"].string == "2026-01-02T03:04:05.000Z", "\(listed)")
    }

    @Test("a stop during a task records it as interrupted; it is no failure")
    func stopped() async throws {
        try await commit(Self.task("long-v1", then: "touch $OUT/began; sleep 1000"), Self.task("next-v1"))
        let agent = try box.start("run")
        try await until("the task runs", details: { agent.errors }) { box.has("began") }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(trace == ["long-v1"])
        let tasks = try await box.json("tasks").items
        #expect(tasks.map { $0["status"].string } == ["pending", "pending"] && tasks[0]["failures"].int == 0)
    }

    // MARK: - Guards

    @Test(
        "a file that cannot be used runs no task and stops no hook; `agent check` ends with 78; both name the line",
        arguments: [
            ("tasks:\n  - id: a\n    run: x\n  - id: a\n    run: y\n", "line 4"),
            ("tasks:\n  - id: ''\n    run: touch $OUT/ran\n", "line 2"),
            ("tasks:\n  - id: \"a\\u0007\"\n    run: touch $OUT/ran\n", "line 2"),
            ("tasks:\n  - run: touch $OUT/ran\n    id: a\n  - id: b\n", "line 4"),
            ("tasks:\n  - id: a\n    run: touch $OUT/ran\n    retry: 3\n", "did you mean \"retries\"?"),
            ("tasks: [", "not valid YAML"),
        ])
    func guards(text: String, message: String) async throws {
        try await box.commit(["deploy.yaml": text])
        let once = try await box.once(Self.hooks)
        #expect(once.outcome == "deployed" && trace == ["pre", "post"] && !box.has("ran"), "\(once)")
        #expect(once.deployment["tasks"]["error"].string?.contains(message) == true, "\(once.json["tasks"])")
        #expect(once.deployment["warnings"].int == 1 && once.ended.errors.contains(message))
        let check = try await box.agent("check")
        #expect(check.code == 78 && check.errors.contains(message), "\(check)")
        #expect(try await box.agent("tasks").code == 78)
    }

    @Test("an entry that changed since it was done: a warning that names it, no second run")
    func changed() async throws {
        try await commit(Self.task("seed-v1"))
        _ = try await box.once()
        try await commit(Self.task("seed-v1", then: "true"))
        let once = try await box.once()
        #expect(once.ended.errors.contains("task seed-v1 has changed since it was done"), "\(once)")
        #expect(counts(once.json["tasks"]) == [0, 1, 0] && trace == ["seed-v1"])
        #expect(try await box.json("tasks").items.first?["status"].string == "changed")
        // One that fails may be mended under its id.
        try await commit(Self.task("mend-v1", then: "exit 1"))
        _ = try await box.once()
        try await commit(Self.task("mend-v1"))
        #expect(counts(try await box.once().json["tasks"]) == [1, 0, 0])
        let gone = try await box.json("tasks").items
        #expect(
            gone.map { "\($0["id"].string ?? "") \($0["status"].string ?? "")" } == ["mend-v1 done", "seed-v1 gone"])
    }

    @Test("AGENT_DEPLOY_FILE names another file, of the commit or outside it; one that is not there is an error")
    func named() async throws {
        try await commit(Self.task("inside-v1"), file: "ops/tasks.yaml")
        let inside = try await box.once(["AGENT_DEPLOY_FILE": "ops/tasks.yaml"])
        #expect(counts(inside.json["tasks"]) == [1, 0, 0], "\(inside)")
        try box.write("tasks:\n" + Self.task("outside-v1"), to: box.root + "/outside.yaml")
        let outside = try await box.once(["AGENT_DEPLOY_FILE": box.root + "/outside.yaml"])
        #expect(counts(outside.json["tasks"]) == [1, 0, 0], "\(outside)")
        let missing = try await box.once(["AGENT_DEPLOY_FILE": "none.yaml"], force: true)
        #expect(missing.outcome == "deployed", "\(missing)")
        #expect(missing.json["tasks"]["error"].string?.contains("\"none.yaml\" is not in commit") == true)
        let local = try await box.agent("check", settings: ["AGENT_TASKS_TABLE": "deploy_tasks"])
        #expect(local.code == 78 && local.errors.contains("needs a PostgreSQL ledger"), "\(local)")
    }

    @Test("another tool's deploy.yaml is no file with tasks; that, and a secret that is too short, is said once")
    func foreignFile() async throws {
        try await box.commit([
            "deploy.yaml": "apiVersion: apps/v1\nkind: Deployment\n---\nkind: Service\n",
            "appspec.yaml": "envs:\n- {key: PIN, value: '~~', type: SECRET}\n",
        ])
        let agent = try box.start("run", settings: Self.hooks)
        try await box.atRest(after: 1, agent)
        try await box.commit(["app.txt": "v2\n"])
        try await box.atRest(after: 2, agent)
        let (note, remark) = ("deploy.yaml is passed over as another tool's", "PIN has fewer than 4 characters")
        for word in [note, remark] {
            #expect(agent.errors.split(separator: "\n").count { $0.contains(word) } == 1, "\(agent.errors)")
        }
        #expect(trace == ["pre", "post", "pre", "post"])
        let newest = try await box.history()[0]
        #expect(newest["tasks"].isNull && newest["warnings"].int == 0, "\(newest)")
        let check = try await box.agent("check")
        #expect(
            check.code == 0 && check.errors.contains(note) && check.errors.contains("AGENT_DEPLOY_FILE"), "\(check)")
        #expect(check.errors.contains(remark))
        let tasks = try await box.agent("tasks")
        #expect(tasks.code == 0 && tasks.errors.contains(note), "\(tasks)")
        // A file that somebody named is meant.
        let named = try await box.agent("check", settings: ["AGENT_DEPLOY_FILE": "deploy.yaml"])
        #expect(named.code == 78 && named.errors.contains("deploy.yaml line"), "\(named)")
    }

    // MARK: - What a task is told, and its secrets

    @Test("a task has its own environment, folder and number; secrets appear nowhere")
    func context() async throws {
        try await box.commit([
            "db/x": "x",
            "deploy.yaml": """
            tasks:
              - id: look-v1
                folder: db
                env: { COLOUR: blue, PORT: 5 }
                run: |
                  echo "$DEPLOY_TASK,$DEPLOY_HOOK,$DEPLOY_ATTEMPT,$DEPLOY_FENCE,$DEPLOY_ID,$COLOUR,$PORT,$(basename $PWD)" > $OUT/said
                  echo "token is $GITHUB_TOKEN"; test -n "$DEPLOY_RUN_ID" && exit 4
            """,
        ])
        let once = try await box.once(["GITHUB_TOKEN": "s3cr3t-token"])
        #expect(box.lines("said") == ["look-v1,,1,1,\(once.deployment["id"]),blue,5,db"])
        #expect(once.runs.first?["error_message"].string == "exit code 4: token is ***", "\(once)")
        let listed = try await box.agent("tasks").output
        #expect(!once.description.contains("s3cr3t") && !listed.contains("s3cr3t"))
        let log = try #require(once.runs.first?["log"].string)
        #expect(box.text(log)?.contains("token is ***") == true)
    }

    // MARK: - The command line

    @Test("tasks run: what is due or named, beside an agent that watches, recorded with who; --dry-run runs nothing")
    func byHand() async throws {
        try await box.commit(["deploy.yaml": "tasks: []"])
        let agent = try box.start("run", settings: ["GITHUB_SYNC_INTERVAL": "1h"])
        try await box.atRest(after: 1, agent)
        try await commit(
            Self.task("one-v1"), Self.task("two-v1", then: "test -e $OUT/good"),
            Self.task("three-v1", "when: after-app"))
        try await box.sh("git -C ws fetch -q \(box.upstream) main && git -C ws checkout -q --detach FETCH_HEAD")
        #expect(
            try await box.json("tasks", "run", "--dry-run").items.map { $0["id"].string } == [
                "one-v1", "two-v1", "three-v1",
            ])
        #expect(trace == [])
        let first = try await box.agent("tasks", "run", "--json")
        #expect(first.code == 1, "\(first)")
        #expect(counts(try JSON(first.output)) == [2, 0, 1], "\(first)")
        let named = try await box.agent("tasks", "run", "two-v1", "one-v1", "--json")
        #expect(named.code == 1, "\(named)")
        #expect(counts(try JSON(named.output)) == [0, 1, 1], "\(named)")
        try box.touch("good")
        let last = try await box.agent("tasks", "run")
        #expect(last.code == 0 && last.output == "ran: 1, skipped: 2, failed: 0\n", "\(last)")
        #expect(trace == ["one-v1", "two-v1", "three-v1", "two-v1", "two-v1"])
        let two = try #require(try await box.json("tasks").items.first { $0["id"].string == "two-v1" })
        #expect(two["actions"].items.map { $0["action"].string } == ["run", "run", "run"] && two["attempts"].int == 3)
        #expect(two["actions"][0]["user"].string?.isEmpty == false && two["actions"][0]["at"].string != nil)
        let unknown = try await box.agent("tasks", "run", "tow-v1")
        #expect(unknown.code == 1 && unknown.errors.contains("did you mean \"two-v1\"?"), "\(unknown)")
    }

    @Test("what runs by hand before anything is deployed is shown with its output, and so many of it stay")
    func beforeDeployment() async throws {
        try await commit(Self.task("odd-v1", then: "echo said; exit 3"))
        try await box.cloneWorkspace()
        let keep = ["AGENT_KEEP": "2"]
        for _ in 0..<3 { #expect(try await box.agent("tasks", "run", "odd-v1", settings: keep).code == 1) }
        #expect(try await box.history().isEmpty)
        #expect(try await box.json("tasks").items.map { $0["run_id"].int } == [3])
        let shown = try await box.json("show", "--run", "3")
        #expect(shown["kind"].string == "task" && shown["output_tail"].string == "said\n", "\(shown)")
        let log = try #require(shown["log"].string)
        #expect(try String(contentsOfFile: log, encoding: .utf8) == "said\n")
        let text = try await box.agent("show", "--run", "3").output
        #expect(text.contains("task odd-v1: failed") && text.contains("  | said\n"), "\(text)")
        #expect(try await box.agent("logs", "3").output == "said\n")
        #expect(try await box.agent("show", "--run", "1").code == 1)
        #expect(try await box.sh("ls state/logs | sort") == "2.log\n3.log")
        #expect(try await box.agent("show").code == 64)
        #expect(try await box.agent("show", "1", "--run", "3").code == 64)
    }

    @Test("a task that runs by hand is not the watching agent's to end, and the other way round")
    func beside() async throws {
        try await commit(Self.task("long-v1", then: "touch $OUT/began; \(Hooks.await_("go"))"))
        try await box.cloneWorkspace()
        let byHand = try box.start("tasks", "run")
        try await until("the task runs", details: { byHand.errors }) { box.has("began") }
        // Else it waits before it publishes.
        let agent = try box.start("run", settings: ["AGENT_PUBLISH_WAIT": "0"])
        try await until("the agent waits for it", details: { agent.errors }) {
            agent.errors.contains("waiting: ") && agent.errors.contains("runs task long-v1")
        }
        #expect(try await box.agent("tasks", "reset", "long-v1", "--yes").code == 75)
        try box.touch("go")
        #expect(try await byHand.ended().code == 0)
        try await until("the agent goes on", details: { agent.errors }) { agent.errors.contains("deployed") }
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
        #expect(trace == ["long-v1"])
        #expect(try await box.history().first?["tasks"]["skipped"].int == 1)
    }

    @Test("two apps with one record: what the other one has done is not run, and both log and list say so")
    func otherApp() async throws {
        try await commit(Self.task("seed-v1"), Self.task("own-v1"))
        #expect(try await box.agent("tasks", "run", "seed-v1", settings: ["AGENT_APP": "blog"]).code != 0)
        try await box.cloneWorkspace()
        #expect(try await box.agent("tasks", "run", "seed-v1", settings: ["AGENT_APP": "blog"]).code == 0)
        let once = try await box.once(["AGENT_APP": "shop"])
        #expect(counts(once.deployment["tasks"]) == [1, 1, 0] && trace == ["seed-v1", "own-v1"], "\(once)")
        #expect(once.ended.errors.contains("the app blog, which has the same record, has done seed-v1: not run here"))
        let listed = try await box.json("tasks", settings: ["AGENT_APP": "shop"]).items
        #expect(listed.map { $0["app"].string } == ["blog", "shop"] && listed[0]["status"].string == "done")
        #expect(try await box.agent("tasks", settings: ["AGENT_APP": "shop"]).output.contains("for the app blog"))
        let own = try await box.once(["AGENT_APP": "blog"], force: true)
        #expect(!own.ended.errors.contains("has done seed-v1") && own.ended.errors.contains("the app shop"), "\(own)")
    }

    @Test("what cannot be listed is said: no checkout, no record; nothing is made by looking")
    func lacking() async throws {
        let nowhere = try await box.agent("tasks", settings: ["WORKSPACE_PATH": "\(box.root)/none"])
        #expect(nowhere.code == 0 && nowhere.errors.contains("there is no checkout at \(box.root)/none"), "\(nowhere)")
        try await commit(Self.task("seed-v1"))
        try await box.cloneWorkspace()
        for arguments in [["tasks"], ["tasks", "run", "--dry-run"]] {
            let none = try await box.start(program: [agentBinary] + arguments).ended()
            #expect(none.code == 0 && none.errors.contains("there is no record yet"), "\(none)")
            #expect(none.output.contains("seed-v1") && access(box.state, F_OK) != 0)
        }
    }

    @Test(
        "one whose retries are used up is not run by `tasks run` unless it is named, and nobody is noted to have run it"
    )
    func usedUpByHand() async throws {
        try await commit(Self.task("bad-v1", "retries: 0", then: "exit 1"))
        #expect(counts(try await box.once().json["tasks"]) == [0, 0, 1])
        let all = try await box.json("tasks", "run")
        #expect(counts(all) == [0, 1, 0] && all["tasks"].items.first?["actions"].items.isEmpty == true, "\(all)")
        let named = try await box.agent("tasks", "run", "bad-v1", "--json")
        let report = try JSON(named.output)
        #expect(named.code == 1 && counts(report) == [0, 0, 1], "\(named)")
        let actions = report["tasks"].items.first?["actions"].items.map { $0["action"].string }
        #expect(actions == ["run"] && trace == ["bad-v1", "bad-v1"])
    }

    @Test("done, retry and reset say what they did, refuse what makes no sense, and are recorded")
    func marks() async throws {
        try await commit(Self.task("seed-v1"), Self.task("other-v1"))
        try await box.cloneWorkspace()
        #expect(try await box.json("tasks", "done", "seed-v1")["status"].string == "done")
        #expect(try await box.agent("tasks", "done", "seed-v1").code == 1)
        let typo = try await box.agent("tasks", "done", "sede-v1")
        #expect(typo.code == 1 && typo.errors.contains("did you mean \"seed-v1\"?"), "\(typo)")
        #expect(try await box.agent("tasks", "done", "later-v1", "--yes").code == 0)
        #expect(counts(try await box.once().json["tasks"]) == [1, 1, 0] && trace == ["other-v1"])
        let careless = try await box.agent("tasks", "reset", "seed-v1")
        #expect(careless.code == 64 && careless.errors.contains("--yes"), "\(careless)")
        #expect(try await box.agent("tasks", "retry", "seed-v1").code == 1)
        #expect(try await box.json("tasks", "reset", "seed-v1", "--yes")["status"].string == "pending")
        #expect(counts(try await box.once().json["tasks"]) == [1, 1, 0] && trace == ["other-v1", "seed-v1"])
        let listed = try await box.json("tasks", "list").items
        #expect(listed.map { $0["id"].string } == ["seed-v1", "other-v1", "later-v1"])
        #expect(listed[0]["actions"].items.map { $0["action"].string } == ["reset", "done"])
        #expect(listed[2]["status"].string == "gone" && listed[2]["completed_at"].string != nil)
        let table = try await box.agent("tasks")
        #expect(table.code == 0 && table.output.hasPrefix("TASK ") && table.output.contains("later-v1"), "\(table)")
        let gone = try await box.agent("tasks", "run", "later-v1")
        #expect(gone.code == 1 && gone.errors.contains("no longer in deploy.yaml"), "\(gone)")
        let reset = try await box.agent("tasks", "reset", "later-v1", "--yes")
        #expect(reset.code == 0 && reset.errors.contains("nothing runs it"), "\(reset)")
    }

    @Test("one that failed and was marked by hand shows that, and nothing of the run that failed")
    func markedAfterFailure() async throws {
        try await commit(Self.task("bad-v1", then: "exit 3"))
        #expect(counts(try await box.once().json["tasks"]) == [0, 0, 1])
        let marked = try await box.json("tasks", "done", "bad-v1")
        #expect(marked["status"].string == "done" && marked["result"].string == "success" && marked["run_id"].isNull)
        #expect(marked["exit_code"].isNull && marked["error_message"].isNull && marked["host"].isNull, "\(marked)")
        #expect(marked["attempts"].int == 1 && marked["failures"].int == 1)
        #expect(try await box.agent("tasks").output.contains("marked by "))
    }
}

import Foundation
import Glibc
import Testing

/// What holds over many deployments.
@Suite(.timeLimit(.minutes(8)), .fewAtOnce)
struct LongRunTests {
    let box: Box

    init() async throws { box = try await Box() }

    private struct Use: CustomStringConvertible {
        var descriptors: Int
        var threads: Int
        var zombies: Int
        var description: String { "\(descriptors) descriptors, \(threads) threads, \(zombies) zombies" }
    }

    /// The least that is seen over a while of rest: what is in use only for a moment is no leak.
    private func use(of pid: Int32) async throws -> Use {
        var least = Use(descriptors: .max, threads: .max, zombies: .max)
        for _ in 0..<20 {
            least.descriptors = min(least.descriptors, Processes.openDescriptors(pid))
            least.threads = min(least.threads, Processes.threads(pid))
            least.zombies = min(least.zombies, Processes.zombies(of: pid))
            try await Task.sleep(for: .milliseconds(20))
        }
        return least
    }

    /// What a machine under load has not come round to yet goes away; a leak does not.
    private func hasNotGrown(_ pid: Int32, since before: Use) async throws {
        var after = before
        try await until("no more is in use than before", details: { "\(before) became \(after)" }) {
            after = try await use(of: pid)
            return after.descriptors <= before.descriptors && after.threads <= before.threads + 2
                && after.zombies <= max(1, before.zombies)
        }
    }

    private func deploy(_ count: Int, _ agent: Program) async throws {
        for _ in 0..<count {
            let commit = try await box.commit()
            try await until("a commit is deployed", details: { String(agent.errors.suffix(2000)) }) {
                box.lines("post").last == commit
            }
        }
    }

    @Test("over 100 deployments neither descriptors nor threads nor zombies grow")
    func leaks() async throws {
        let agent = try box.start(
            "run",
            settings: [
                // Orphans that end, failures, and processes that are ended: all the ways in which something can be left behind.
                "PRE_DEPLOY_COMMAND": "(sleep 0.01 &) ; (setsid sleep 0.01 &) ; true",
                "POST_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/post; sleep 30 & exit 1",
                "GITHUB_SYNC_INTERVAL": "100ms", "AGENT_KILL_GRACE": "100ms",
            ])
        let pid = try await agent.started()
        try await until("the first commit is deployed", details: { agent.errors }) { box.lines("post").count == 1 }
        try await deploy(8, agent)
        let before = try await use(of: pid)
        let memory = Processes.peakMemory(pid) ?? 0
        try await deploy(100, agent)
        try await hasNotGrown(pid, since: before)
        #expect(
            (Processes.peakMemory(pid) ?? .max) < memory + 20 * 1024,
            "\(memory) KiB became \(Processes.peakMemory(pid) ?? 0)")
        try await until("nothing is left", details: { "\(box.survivors().map(Processes.commandLine))" }) {
            box.survivors().isEmpty
        }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(Set(box.lines("post")).count == 109 && box.lines("post").count == 109)
    }

    @Test("over 500 deployments of the workspace's own commits neither descriptors nor threads nor zombies grow")
    func manyLocal() async throws {
        try await box.cloneWorkspace()
        let agent = try box.start(
            "run",
            settings: [
                "GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": "(sleep 0.01 &) ; (setsid sleep 0.01 &) ; true",
                "POST_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/post", "GITHUB_SYNC_INTERVAL": "20ms",
                "AGENT_LOG_LEVEL": "error",
            ])
        let pid = try await agent.started()
        // One shell for all of them: a program of its own for each commit would take longer than its deployment.
        func deploy(_ count: Int) async throws {
            try await box.sh(
                """
                for n in $(seq \(count)); do
                    git -C ws -c user.name=t -c user.email=t@t commit -q --allow-empty -m "$n"
                    commit=$(git -C ws rev-parse HEAD)
                    until [ "$(tail -n 1 out/post 2>/dev/null)" = "$commit" ]; do sleep 0.005; done
                done
                """)
        }
        try await deploy(10)
        let before = try await use(of: pid)
        for _ in 0..<20 { try await deploy(25) }
        try await hasNotGrown(pid, since: before)
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        #expect(Set(box.lines("post")).count >= 510)
    }

    @Test("between checks nothing wakes the sidecar")
    func sleepsSoundly() async throws {
        let agent = try box.start(
            "run", settings: ["POST_DEPLOY_COMMAND": "touch $OUT/done", "GITHUB_SYNC_INTERVAL": "1h"])
        let pid = try await agent.started()
        try await until("the commit is deployed", details: { agent.errors }) { box.has("done") }
        // Threads of the pool end a few seconds after their last work; from then on nothing moves.
        try await until("it sleeps for two seconds", details: { "\(Processes.switches(pid))" }) {
            let before = Processes.switches(pid)
            try await Task.sleep(for: .seconds(2))
            return before == Processes.switches(pid)
        }
    }

    @Test(
        "neither state directory nor workspace keep what was staged, fetched or published for commits long gone",
        arguments: ["in-place", "symlink"])
    func diskUse(mode: String) async throws {
        let rubbish =
            "head -c 3000000 /dev/urandom > big.bin; for i in $(seq 20); do head -c 9 /dev/urandom > f$i; done"
        let settings = [
            "PRE_DEPLOY_COMMAND": "head -c 3000000 /dev/zero > generated", "AGENT_KEEP": "2", "AGENT_PUBLISH": mode,
            "AGENT_KEEP_RELEASES": "1",
        ]
        for _ in 0..<10 {
            try await box.sh(rubbish, in: box.work)
            try await box.commit()
            #expect(try await box.once(settings).outcome == "deployed")
        }
        let kilobytes = Int(try await box.sh("du -skc state ws | tail -1 | cut -f1")) ?? .max
        // Ten commits hold 30 MB that no compression makes smaller. Needed are two of them, and two checkouts with what
        // is generated there; a few more lie there until it is worth while to look.
        #expect(kilobytes < 27_000, "\(kilobytes) KiB")
        #expect(
            try await box.sh(
                "find state -path 'state/workspaces/*/stage*' -not -path '*/repo.git/*'; find state -name generated -not -path '*/releases/*'"
            )
                == "")
    }

    @Test("AGENT_KEEP prunes record and log files, the newest stay")
    func keep() async throws {
        let settings = ["AGENT_KEEP": "3", "POST_DEPLOY_COMMAND": "echo x"]
        for number in 0..<6 {
            if number > 0 { try await box.commit() }
            #expect(try await box.once(settings).outcome == "deployed")
        }
        let all = try await box.history()
        #expect(all.map { $0["id"].int } == [6, 5, 4])
        let logs = try await box.sh("ls state/logs")
        #expect(logs == "4.log\n5.log\n6.log", "\(logs)")
        #expect(try await box.agent("show", "1").code == 1)
        #expect(try await box.agent("logs", "1").code == 1)
    }

    @Test("AGENT_KEEP never prunes the last success")
    func keepLastSuccess() async throws {
        #expect(try await box.once(["AGENT_KEEP": "2", "POST_DEPLOY_COMMAND": "echo good"]).outcome == "deployed")
        let good = try await box.head()
        try await box.commit()
        for _ in 0..<5 {
            #expect(try await box.once(["AGENT_KEEP": "2", "PRE_DEPLOY_COMMAND": "exit 1"]).outcome == "failed")
        }
        let all = try await box.history()
        #expect(all.map { $0["status"].string } == ["failed", "failed", "succeeded"], "\(all)")
        #expect(all.last?["commit"].string == good)
        #expect(try await box.agent("logs", "1").output == "good\n")
        #expect(all.first?["attempt"].int == 5)
        #expect(try await box.json("status")["last_succeeded_commit"].string == good)
        let next = try await box.once([
            "AGENT_KEEP": "2", "PRE_DEPLOY_COMMAND": "echo $DEPLOY_PREVIOUS_COMMIT > $OUT/previous",
        ])
        #expect(next.deployment["previous_commit"].string == good && box.lines("previous") == [good])
    }

    @Test("pruning does not forget how many of the retries are used up")
    func keepAndRetries() async throws {
        #expect(try await box.once().outcome == "deployed")
        try await box.commit()
        let settings = [
            "AGENT_KEEP": "1", "PRE_DEPLOY_COMMAND": "echo x >> $OUT/tries; exit 1", "PRE_DEPLOY_RETRIES": "3",
        ]
        for _ in 0..<6 { _ = try await box.once(settings) }
        #expect(box.lines("tries").count == 4, "tried \(box.lines("tries").count) times instead of 4")
    }
}

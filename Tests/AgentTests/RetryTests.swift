import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct RetryTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// Notes when each attempt began, in milliseconds.
    private static let stamp = "echo \"$DEPLOY_ATTEMPT $(date +%s%3N)\" >> $OUT/attempts; "

    /// Waits until the sidecar has made so many more checks.
    private func checks(_ count: Int) async throws {
        var seen: Set<String> = []
        try await until("\(count) more checks were made") {
            if let at = try await box.json("status")["last_check"].string { seen.insert(at) }
            return seen.count > count
        }
    }

    @Test("a failed commit is tried again with growing time between the attempts")
    func backoffGrows() async throws {
        let agent = try box.start(
            "run", settings: ["PRE_DEPLOY_COMMAND": Self.stamp + "exit 1", "GITHUB_SYNC_INTERVAL": "300ms"])
        try await until("four attempts were made", details: { agent.errors }) { box.lines("attempts").count >= 4 }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
        let attempts = box.lines("attempts").map { $0.split(separator: " ").compactMap { Int($0) } }
        #expect(attempts.prefix(4).map { $0[0] } == [1, 2, 3, 4])
        let gaps = zip(attempts, attempts.dropFirst()).map { $1[1] - $0[1] }
        #expect(gaps[0] >= 300 && gaps[1] >= 600 && gaps[2] >= 1200, "\(gaps)")
        let all = try await box.history()
        #expect(all.map { $0["attempt"].int } == (1...all.count).reversed().map { $0 })
    }

    @Test("used-up retries settle the commit; `agent retry` makes it due", arguments: ["PRE", "POST"])
    func retriesUsedUp(_ hook: String) async throws {
        let agent = try box.start(
            "run",
            settings: [
                "\(hook)_DEPLOY_COMMAND": Self.stamp + "exit 1", "\(hook)_DEPLOY_RETRIES": "2",
                "\(hook)_DEPLOY_MODE": "strict",
                "GITHUB_SYNC_INTERVAL": "100ms",
            ])
        try await until("three attempts were made", details: { agent.errors }) { box.lines("attempts").count == 3 }
        try await checks(3)
        #expect(box.lines("attempts").count == 3, "more attempts than the retries allow")
        #expect(try await box.history().first?["status"].string == "failed")
        #expect(try await box.agent("retry").code == 0)
        try await until("it is tried again") { box.lines("attempts").count >= 4 }
        try await checks(3)
        #expect(box.lines("attempts").count == 4, "`agent retry` gave more than one further attempt")
        try await box.commit(["app.txt": "2"])
        try await until("the new commit is tried") { box.lines("attempts").count >= 5 }
        #expect(
            box.lines("attempts")[4].hasPrefix("1 "),
            "a new commit begins with attempt 1: \(box.lines("attempts"))")
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test("PRE_DEPLOY is tried without limit unless retries are set; run-once does not wait for the backoff")
    func unlimitedByDefault() async throws {
        let settings = ["PRE_DEPLOY_COMMAND": Self.stamp + "test -e $OUT/ok", "GITHUB_SYNC_INTERVAL": "1h"]
        for attempt in 1...6 {
            let once = try await box.once(settings)
            #expect(once.code == 1 && once.deployment["attempt"].int == attempt, "\(once)")
        }
        try box.touch("ok")
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed" && once.deployment["attempt"].int == 7, "\(once)")
    }

    @Test("a strict POST_DEPLOY has no retries unless they are set")
    func postHasNone() async throws {
        let settings = ["POST_DEPLOY_COMMAND": Self.stamp + "exit 1", "POST_DEPLOY_MODE": "strict"]
        #expect(try await box.once(settings).code == 1)
        let second = try await box.once(settings)
        #expect(second.code == 0 && second.outcome == "unchanged" && second.deployment.isNull, "\(second)")
        #expect(second.ended.errors.contains("retr"), "does not say that the commit is settled as failed: \(second)")
    }

    @Test("--force deploys a settled commit, failed or succeeded")
    func force() async throws {
        let fails = ["PRE_DEPLOY_COMMAND": Self.stamp + "exit 1", "PRE_DEPLOY_RETRIES": "0"]
        #expect(try await box.once(fails).outcome == "failed")
        #expect(try await box.once(fails).outcome == "unchanged")
        #expect(try await box.once(fails, force: true).outcome == "failed")
        #expect(try await box.once(["PRE_DEPLOY_COMMAND": Self.stamp], force: true).outcome == "deployed")
        #expect(try await box.once(["PRE_DEPLOY_COMMAND": Self.stamp]).outcome == "unchanged")
        let again = try await box.once(["PRE_DEPLOY_COMMAND": Self.stamp], force: true)
        #expect(again.outcome == "deployed" && again.deployment["attempt"].int == 1, "\(again)")
        #expect(box.lines("attempts").count == 4)
    }

    @Test("a deferral is tried at every check and does not count against the retries")
    func deferral() async throws {
        let agent = try box.start(
            "run",
            settings: [
                "PRE_DEPLOY_COMMAND": Self.stamp + "test -e $OUT/fail && exit 1; exit 75", "PRE_DEPLOY_RETRIES": "1",
                "GITHUB_SYNC_INTERVAL": "500ms",
            ])
        try await until("it was deferred five times", details: { agent.errors }) { box.lines("attempts").count >= 5 }
        let attempts = box.lines("attempts").map { $0.split(separator: " ").compactMap { Int($0) } }
        let gaps = zip(attempts, attempts.dropFirst()).map { $1[1] - $0[1] }
        #expect(gaps.allSatisfy { $0 >= 400 }, "tried before the next check: \(gaps)")
        #expect((gaps.min() ?? 9999) < 1900, "the time between deferrals grows: \(gaps)")
        #expect(try await box.history().dropFirst().allSatisfy { $0["status"].string == "deferred" })
        try box.touch("fail")
        try await until("both failures have happened", details: { agent.errors }) {
            try await box.history().filter { $0["status"].string == "failed" }.count == 2
        }
        try await checks(3)
        #expect(
            try await box.history().filter { $0["status"].string == "failed" }.count == 2,
            "deferrals changed what retries allow")
        try await agent.send(SIGTERM)
        _ = try await agent.ended()
    }

    @Test("SIGHUP does not wait for the backoff")
    func hangup() async throws {
        let agent = try box.start(
            "run", settings: ["PRE_DEPLOY_COMMAND": Self.stamp + "exit 1", "GITHUB_SYNC_INTERVAL": "1h"])
        try await until("the first attempt was made") { try await box.json("status")["next_check"].string != nil }
        try await agent.send(SIGHUP)
        try await until("the second attempt was made", within: 20) { box.lines("attempts").count == 2 }
        #expect(try await box.history().first?["trigger"].string == "signal")
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test("`agent retry` says so when there is nothing to retry", arguments: ["", "0123abc"])
    func nothingToRetry(_ commit: String) async throws {
        #expect(try await box.once().outcome == "deployed")
        let retry = try await box.start(program: [agentBinary, "retry"] + (commit.isEmpty ? [] : [commit])).ended()
        #expect(retry.code != 0 && retry.errors.contains("nothing to retry"), "\(retry)")
        #expect(try await box.once().outcome == "unchanged")
    }

    @Test("a retried run that failed is due for one more attempt under its own commit's id")
    func retryByCommit() async throws {
        let fails = ["PRE_DEPLOY_COMMAND": Self.stamp + "exit 1", "PRE_DEPLOY_RETRIES": "0"]
        #expect(try await box.once(fails).outcome == "failed")
        let id = try await box.head(of: box.work)
        let retry = try await box.json("retry", String(id.prefix(9)))
        #expect(retry["commit"].string == id, "\(retry)")
        #expect(try await box.once(["PRE_DEPLOY_COMMAND": "true"]).outcome == "deployed")
    }

    @Test(
        "a commit that arrives during a hook is deployed right after; those in between are passed over",
        arguments: ["true", "false"])
    func newerCommit(_ ending: String) async throws {
        let agent = try box.start(
            "run",
            settings: [
                "PRE_DEPLOY_COMMAND":
                    "echo $DEPLOY_COMMIT >> $OUT/pre; \(Hooks.await_("go")) test $DEPLOY_ATTEMPT != 1 || test -e $OUT/good || \(ending)",
                "GITHUB_SYNC_INTERVAL": "1h",
            ])
        try await until("the first hook runs") { box.lines("pre").count == 1 }
        let first = try await box.head(of: box.work)
        for number in 0..<3 { try await box.commit(["app.txt": "\(number)"]) }
        let last = try await box.commit(["app.txt": "last"])
        try box.touch("go")
        try await until("the last commit's hook runs", within: 20, details: { agent.errors }) {
            box.lines("pre").count >= 2
        }
        #expect(box.lines("pre") == [first, last])
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }
}

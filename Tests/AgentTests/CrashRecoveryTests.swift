import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct CrashRecoveryTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let hooks = [
        "PRE_DEPLOY_COMMAND": Hooks.exclusive + "echo $DEPLOY_RUN_ID >> $OUT/pre",
        "POST_DEPLOY_COMMAND": Hooks.exclusive + "echo $DEPLOY_COMMIT >> $OUT/post",
    ]

    private func expectNothingUnfinished(_ location: SourceLocation = #_sourceLocation) async throws {
        let all = try await box.history()
        #expect(!all.contains { $0["status"].string == "running" }, sourceLocation: location)
        for deployment in all {
            let shown = try await box.json("show", "\(deployment["id"])")
            #expect(
                !shown["runs"].items.contains { $0["status"].string == "running" }, "\(shown)", sourceLocation: location
            )
        }
    }

    @Test("a remote that never answers leaves nothing behind when the agent is killed while it waits")
    func killedWhileAsking() async throws {
        let server = try SilentServer()
        let settings = Self.hooks.merging(["GITHUB_REPO_URL": server.url]) { $1 }
        let first = try box.start("run", settings: settings)
        try await until("git asks") { !box.survivors().isEmpty }
        let git = box.survivors()
        try await first.send(SIGKILL)
        _ = try await first.ended()
        let once = try await box.once(Self.hooks)
        #expect(once.outcome == "deployed", "\(once)")
        #expect(!git.contains(where: Processes.isAlive), "git of the killed agent lives on")
        #expect(try await box.history().count == 1)
        withExtendedLifetime(server) {}
    }

    /// A moment of the agent's work, told by the git call that it is in.
    enum Moment: String, CaseIterable, Sendable {
        case asking = "ls-remote"
        case fetching = "--depth=1"
        case staging = "--separate-git-dir"
        case publishing = "--update-shallow"
        case beforeCheckout = "checkout"
        case afterCheckout = "checkout-done"
        case tidying = "for-each-ref"
    }

    @Test(
        "killed in the middle of git's work, the next start ends what is left and deploys", arguments: Moment.allCases)
    func killedInGit(_ moment: Moment) async throws {
        // The real git, but for one call, which hangs until it is killed.
        let word = moment == .afterCheckout ? "checkout" : moment.rawValue
        let after = moment == .afterCheckout ? "/usr/bin/git \"$@\"; " : ""
        try box.install(
            "git",
            """
            echo "$@" >> $OUT/git
            case " $* " in *" \(word) "*)
                if mkdir $OUT/hung 2>/dev/null; then \(after)sleep 1000 & echo $! > $OUT/sleeper; touch $OUT/ready; wait; fi;;
            esac
            exec /usr/bin/git "$@"
            """)
        let first = try box.start("run", settings: Self.hooks)
        try await until("git hangs", details: { first.errors }) { box.has("ready") }
        let sleeper = try #require(Int32(box.lines("sleeper").first ?? ""))
        try await first.send(SIGKILL)
        _ = try await first.ended()
        #expect(Processes.isAlive(sleeper))
        let once = try await box.once(Self.hooks)
        let isOver = moment == .tidying
        #expect(once.code == 0 && once.outcome == (isOver ? "unchanged" : "deployed"), "\(once)")
        #expect(!Processes.isAlive(sleeper), "what the killed agent's git had started lives on")
        #expect(try await box.head() == box.head(of: box.work))
        #expect(box.lines("post").count == 1)
        #expect(box.lines("overlap").isEmpty)
        try await expectNothingUnfinished()
    }

    @Test("locks that the killed agent's git held in the workspace do not keep the next start from deploying at once")
    func killedWithLocks() async throws {
        try box.install(
            "git",
            """
            case " $* " in *" checkout "*)
                if mkdir $OUT/hung 2>/dev/null; then
                    touch .git/index.lock .git/HEAD.lock; sleep 1000 & touch $OUT/ready; wait
                fi;;
            esac
            exec /usr/bin/git "$@"
            """)
        let first = try box.start("run", settings: Self.hooks)
        try await until("git hangs", details: { first.errors }) { box.has("ready") }
        try await first.send(SIGKILL)
        _ = try await first.ended()
        let once = try await box.once(Self.hooks)
        #expect(once.outcome == "deployed", "\(once)")
        #expect(try await box.head() == box.head(of: box.work))
        #expect(try await box.sh("find .git -name '*.lock' -o -name 'deploy-agent*'", in: box.workspace) == "")
    }

    @Test("killed during a hook, the survivors are ended before the hook runs again", arguments: ["PRE", "POST"])
    func killedDuringHook(_ hook: String) async throws {
        var settings = Self.hooks
        settings["\(hook)_DEPLOY_COMMAND"] =
            Hooks.exclusive
            + "echo start >> $OUT/starts; if mkdir $OUT/once 2>/dev/null; then\n\(Hooks.stubborn)\nfi; echo done >> $OUT/done"
        let first = try box.start("run", settings: settings)
        try await until("the hook hangs", details: { first.errors }) { box.has("ready") }
        try await first.send(SIGKILL)
        _ = try await first.ended()
        let left = box.survivors()
        #expect(left.count >= 4, "the hook has ended with the agent")
        #expect(try await box.history().first?["status"].string == "running")

        let once = try await box.once(settings)
        #expect(once.outcome == "deployed", "\(once)")
        #expect(!left.contains(where: Processes.isAlive))
        #expect(box.lines("overlap").isEmpty, "two copies of the hook overlapped")
        #expect(box.lines("starts").count == 2 && box.lines("done").count == 1)
        let all = try await box.history()
        #expect(all.map { $0["status"].string } == ["succeeded", "interrupted"])
        let interrupted = try await box.json("show", "\(all[1]["id"])")
        #expect(interrupted["runs"].items.last?["status"].string == "interrupted", "\(interrupted)")
        #expect(interrupted["runs"].items.last?["completed_at"].string != nil)
        try await expectNothingUnfinished()
    }

    @Test(
        "killed during a hook, a child with an empty environment in its own session is ended too while its parent lives"
    )
    func bareChildOfLivingParent() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND":
                "if mkdir $OUT/once 2>/dev/null; then setsid env -i sh -c 'echo $$ > \"$0\"; while :; do sleep 1; done' $OUT/bare & wait; fi"
        ]
        let first = try box.start("run", settings: settings)
        try await until("the child runs") { !box.lines("bare").isEmpty }
        let bare = try #require(Int32(box.lines("bare")[0]))
        try await first.send(SIGKILL)
        _ = try await first.ended()
        #expect(Processes.isAlive(bare))
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed", "\(once)")
        #expect(!Processes.isAlive(bare))
        kill(bare, SIGKILL)
    }

    @Test("killed during a hook, an orphan with an empty environment in its own session is ended too")
    func bareOrphan() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND":
                "if mkdir $OUT/once 2>/dev/null; then (setsid env -i sh -c 'echo $$ > \"$0\"; while :; do sleep 1; done' $OUT/bare &); "
                + Hooks.await_("bare") + "touch $OUT/ready; sleep 1000; fi"
        ]
        let first = try box.start("run", settings: settings)
        try await until("the orphan runs") { box.has("ready") && !box.lines("bare").isEmpty }
        let bare = try #require(Int32(box.lines("bare")[0]))
        try await first.send(SIGKILL)
        _ = try await first.ended()
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(!Processes.isAlive(bare))
        kill(bare, SIGKILL)
    }

    @Test("killed during a hook, what the hook had printed is in log and record")
    func outputBeforeTheKillIsKept() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": "if mkdir $OUT/once 2>/dev/null; then echo precious; touch $OUT/ready; sleep 100; fi"
        ]
        let first = try box.start("run", settings: settings)
        try await until("the hook runs") { box.has("ready") && first.errors.contains("] precious") }
        try await first.send(SIGKILL)
        _ = try await first.ended()
        _ = try await box.once(settings)
        let oldest = try #require(try await box.history().last)
        let shown = try await box.json("show", "\(oldest["id"])")
        #expect(shown["runs"][0]["output_tail"].string?.contains("precious") == true, "\(shown)")
        #expect(try await box.agent("logs", "\(shown["runs"][0]["id"])").output == "precious\n")
    }

    @Test("a later kill of a `run` whose hook succeeded leaves what the hook put into the background alone")
    func backgroundOfSucceededHookSurvivesTheCrash() async throws {
        let settings = [
            "POST_DEPLOY_COMMAND":
                "test -e $OUT/daemon || { setsid sleep 1000 >/dev/null 2>&1 & echo $! > $OUT/daemon; }"
        ]
        let first = try box.start("run", settings: settings)
        try await until("the deployment is over") { try await box.history().first?["status"].string == "succeeded" }
        let daemon = try #require(Int32(box.lines("daemon").first ?? ""))
        try await first.send(SIGKILL)
        _ = try await first.ended()
        try await box.commit(["app.txt": "2"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(Processes.isAlive(daemon))
    }

    @Test(
        "killed again and again at random moments, nothing is lost, nothing overlaps, nothing runs twice under one id")
    func randomKills() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": Hooks.exclusive + "echo $DEPLOY_RUN_ID >> $OUT/ids; (sleep 0.05) & sleep 0.1; wait",
            "POST_DEPLOY_COMMAND": Hooks.exclusive
                + "echo $DEPLOY_RUN_ID >> $OUT/ids; test \"$(git rev-parse HEAD)\" = $DEPLOY_COMMIT || echo $DEPLOY_ID >> $OUT/wrong; "
                + "setsid sleep 0.15 & sleep 0.05; wait",
            "GITHUB_SYNC_INTERVAL": "100ms",
        ]
        var random = SeededGenerator(state: 20_240_607)
        var last = ""
        for round in 0..<25 {
            if round % 2 == 0 { last = try await box.commit(["app.txt": "\(round)"], "round \(round)") }
            let agent = try box.start("run", settings: settings)
            _ = try await agent.started()
            // Not a wait for something: the moment of the kill is what varies.
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...900, using: &random)))
            try await agent.send(SIGKILL)
            _ = try await agent.ended()
        }
        let once = try await box.once(settings)
        #expect(once.code == 0, "\(once)")
        #expect(try await box.head() == last)
        let newest = try #require(try await box.history().first)
        #expect(newest["commit"].string == last && newest["status"].string == "succeeded")
        #expect(box.lines("overlap").isEmpty, "copies overlapped in runs \(box.lines("overlap"))")
        #expect(box.lines("wrong").isEmpty, "POST_DEPLOY ran on another commit in deployments \(box.lines("wrong"))")
        #expect(Set(box.lines("ids")).count == box.lines("ids").count, "a recorded run was started twice")
        #expect(box.survivors().isEmpty)
        try await expectNothingUnfinished()
    }
}

/// SplitMix64: the same moments in every run of the tests.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

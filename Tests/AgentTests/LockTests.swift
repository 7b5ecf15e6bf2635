import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct LockTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let hooks = [
        "PRE_DEPLOY_COMMAND": Hooks.exclusive + "echo $DEPLOY_COMMIT >> $OUT/pre; " + Hooks.await_("go"),
        "POST_DEPLOY_COMMAND": Hooks.exclusive + "echo $DEPLOY_COMMIT >> $OUT/post",
    ]

    @Test("of ten run-once at once one deploys; nine end with 75 and name the one that works")
    func tenOnce() async throws {
        let box = box
        let agents = try (0..<10).map { _ in try box.start("run-once", "--json", settings: Self.hooks) }
        try await until("nine have given up", details: { agents.map(\.errors).joined() }) {
            agents.filter { $0.code != nil }.count >= 9
        }
        try box.touch("go")
        var ends: [(Int32, Ended)] = []
        for agent in agents { ends.append((try await agent.started(), try await agent.ended())) }
        #expect(ends.filter { $0.1.code == 0 }.count == 1 && ends.filter { $0.1.code == 75 }.count == 9, "\(ends)")
        let holder = try #require(ends.first { $0.1.code == 0 }).0
        for (_, end) in ends where end.code == 75 {
            #expect(end.errors.contains("\(holder)"), "does not name process \(holder): \(end)")
            let json = try JSON(end.output)
            #expect(json["outcome"].string == "busy" && json["deployment"].isNull)
        }
        #expect(box.lines("pre").count == 1 && box.lines("post").count == 1 && box.lines("overlap").isEmpty)
        #expect(try await box.history().count == 1)
    }

    @Test("of ten `run` at once one works and nine wait; when it is killed another takes over")
    func tenRun() async throws {
        try box.touch("go")
        let agents = try (0..<10).map { _ in try box.start("run", settings: Self.hooks) }
        try await until("the commit is deployed and nine wait", details: { agents.map(\.errors).joined() }) {
            box.lines("post").count == 1 && agents.filter { $0.errors.contains("waiting") }.count == 9
        }
        #expect(agents.allSatisfy { $0.code == nil }, "one did not wait")
        // What POST_DEPLOY has written comes before its end.
        func succeeded(_ count: Int) async throws {
            try await until("\(count) are on record", details: { agents.map(\.errors).joined() }) {
                try await box.history().filter { $0["status"].string == "succeeded" }.count == count
            }
        }
        try await succeeded(1)
        let pid = try #require(try await box.json("status")["lock"]["pid"].int)
        let holder = try #require(agents.first { $0.pid == Int32(pid) })
        for waiting in agents where waiting !== holder {
            #expect(waiting.errors.contains("\(pid)"), "does not say who holds it: \(waiting.errors)")
        }
        try await holder.send(SIGKILL)
        _ = try await holder.ended()
        try await until("another one has the lock") {
            let status = try await box.json("status")
            return status["lock"]["pid"].int.map { $0 != pid } ?? false
        }
        let second = try await box.commit(["app.txt": "2"])
        try await until("the next commit is deployed") { box.lines("post").count == 2 }
        #expect(box.lines("post").last == second && box.lines("pre").count == 2 && box.lines("overlap").isEmpty)
        try await succeeded(2)
        for agent in agents where agent !== holder { try await agent.send(SIGTERM) }
        for agent in agents where agent !== holder { #expect(try await agent.ended().code == 0) }
        let all = try await box.history()
        #expect(all.map { $0["status"].string } == ["succeeded", "succeeded"])
    }

    @Test("run-once beside a `run` that works is busy; views are not")
    func viewsWhileHeld() async throws {
        let agent = try box.start("run", settings: Self.hooks)
        try await until("the hook runs") { box.lines("pre").count == 1 }
        let once = try await box.once(Self.hooks)
        #expect(once.code == 75 && once.outcome == "busy", "\(once)")
        let all = try await box.history()
        #expect(all.count == 1 && all[0]["status"].string == "running" && all[0]["completed_at"].isNull)
        #expect(try await box.agent("status").output.contains("running"))
        try box.touch("go")
        try await until("it is over") { try await box.history().first?["status"].string == "succeeded" }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test("a background process that inherited everything from a killed agent does not keep the lock")
    func lockDiesWithItsHolder() async throws {
        let settings = ["POST_DEPLOY_COMMAND": "test -e $OUT/d || { sleep 1000 & echo $! > $OUT/d; }"]
        let agent = try box.start("run", settings: settings)
        try await until("it is deployed") { try await box.history().first?["status"].string == "succeeded" }
        try await agent.send(SIGKILL)
        _ = try await agent.ended()
        #expect(Processes.isAlive(try #require(Int32(box.lines("d").first ?? ""))))
        #expect(try await box.once(settings).outcome == "unchanged")
    }

    @Test("two workspaces with one state directory do not wait for each other")
    func twoWorkspaces() async throws {
        let first = try box.start("run-once", settings: Self.hooks)
        try await until("the hook runs") { box.lines("pre").count == 1 }
        let other = try await box.once(["WORKSPACE_PATH": box.root + "/other"])
        #expect(other.outcome == "deployed", "\(other)")
        #expect(try await box.head(of: box.root + "/other") == box.head(of: box.work))
        try box.touch("go")
        #expect(try await first.ended().code == 0)
    }

    @Test("the same workspace under another name is the same workspace")
    func otherName() async throws {
        try await box.cloneWorkspace()
        symlink(box.workspace, box.root + "/link")
        let first = try box.start("run-once", settings: Self.hooks)
        try await until("the hook runs") { box.lines("pre").count == 1 }
        let other = try await box.once(Self.hooks.merging(["WORKSPACE_PATH": box.root + "/link/"]) { $1 })
        #expect(other.code == 75, "\(other)")
        try box.touch("go")
        #expect(try await first.ended().code == 0)
    }

    @Test("a workspace has one agent also when two use different state directories")
    func otherStateDirectory() async throws {
        try await box.cloneWorkspace()
        let first = try box.start("run-once", settings: Self.hooks)
        try await until("the hook runs") { box.lines("pre").count == 1 }
        let other = try await box.once(["AGENT_STATE_DIR": box.root + "/state2"])
        #expect(other.code == 75 && other.outcome == "busy", "\(other)")
        try box.touch("go")
        #expect(try await first.ended().code == 0)
    }

    @Test("agents that create the one ledger at the same moment all get to work", arguments: 0..<5)
    func ledgerCreatedByMany(_ round: Int) async throws {
        let agents = try (0..<10).map { number in
            try box.start(
                "run-once", settings: ["WORKSPACE_PATH": "\(box.root)/ws\(number)", "POST_DEPLOY_COMMAND": "true"])
        }
        for agent in agents {
            let ended = try await agent.ended()
            #expect(ended.code == 0, "\(ended)")
        }
    }
}

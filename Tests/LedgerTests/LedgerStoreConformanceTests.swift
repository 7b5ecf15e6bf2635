import Ledger
import TestSupport
import Testing

/// What every store of the record must do.
@Suite(.timeLimit(.minutes(1)))
struct LedgerStoreConformanceTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Records a deployment that has ended.
    private func settle(
        _ store: any LedgerStore, _ draft: DeploymentDraft, _ result: DeploymentResult, published: Bool = false,
        runs: [(String, RunStatus)] = []
    ) async throws -> Int64 {
        let (deployment, _) = try await store.begin(draft, firstRun: nil)
        for (name, status) in runs {
            var run = RunDraft.sample(name, parent: deployment.id)
            run.place = draft.scope
            let begun = try await store.write([.beginRun(run)])
            try await store.write([.completeRun(begun[0].id, .sample(status))])
        }
        try await store.write(
            (published ? [.publish(deployment: deployment.id)] : []) + [.completeDeployment(deployment.id, result)])
        return deployment.id
    }

    @Test("a deployment and its first run begin in one write, both running", arguments: StoreFactory.allCases)
    func begin(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let (deployment, run) = try await store.begin(.sample(previous: "z")) { .sample(parent: $0, marker: "mark") }
        #expect(deployment.status == .running && deployment.series == deployment.id && !deployment.settled)
        #expect(deployment.previousCommit == "z" && deployment.ref == "main" && deployment.completedAt == nil)
        let begun = try #require(run)
        #expect(begun.deployment == deployment.id && begun.status == .running && begun.marker == "mark")
        let read = try #require(try await store.run(begun.id))
        #expect(read.timeout == .seconds(300) && read.command == "true" && read.completedAt == nil)
        #expect(try await store.deployment(deployment.id)?.subject == "subject of a")
    }

    @Test("one write ends a run and its deployment", arguments: StoreFactory.allCases)
    func completeTogether(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let (deployment, run) = try await store.begin(.sample()) { .sample(parent: $0) }
        let id = try #require(run?.id)
        try await store.write([
            .completeRun(id, .sample(.succeeded)), .completeDeployment(deployment.id, .sample(.succeeded, warnings: 2)),
        ])
        #expect(try await store.run(id)?.status == .succeeded)
        let read = try #require(try await store.deployment(deployment.id))
        #expect(
            read.status == .succeeded && read.settled && read.warnings == 2 && read.completedAt?.milliseconds == 3000)
    }

    @Test("a completed run keeps its exit code, signal, tail and error", arguments: StoreFactory.allCases)
    func completeRun(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let (deployment, _) = try await store.begin(.sample(), firstRun: nil)
        let run = try await store.write([.beginRun(.sample(parent: deployment.id))])[0]
        try await store.write([
            .completeRun(
                run.id,
                RunResult(
                    status: .timedOut, signal: 9, completedAt: Timestamp(milliseconds: 9), outputTail: "tail ✓",
                    errorMessage: "late"))
        ])
        let read = try #require(try await store.runs(deployment: deployment.id).first)
        #expect(read.status == .timedOut && read.exitCode == nil && read.signal == 9)
        #expect(read.errorMessage == "late" && read.completedAt?.milliseconds == 9)
        #expect(try await store.outputTail(run: run.id) == "tail ✓")
    }

    @Test(
        "facts name the newest deployment, the last settled one, the commit's own and the last success",
        arguments: StoreFactory.allCases)
    func facts(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let scope = DeploymentDraft.sample().scope
        let empty = try await store.facts(scope, commit: "a")
        #expect(empty.latest == nil && empty.lastSettled == nil && empty.latestOfCommit == nil)
        let first = try await settle(store, .sample(commit: "a"), .sample(.succeeded), published: true)
        let second = try await settle(store, .sample(commit: "b"), .sample(.failed))
        let third = try await settle(store, .sample(commit: "c"), .sample(.failed, settled: false, retryAt: 77))
        let facts = try await store.facts(scope, commit: "c")
        #expect(facts.latest?.id == third && facts.latestOfCommit?.id == third && facts.lastSettled?.id == second)
        #expect(facts.latestOfCommit?.retryAt?.milliseconds == 77 && facts.lastSucceededCommit == "a")
        #expect(try await store.facts(scope, commit: "a").latestOfCommit?.id == first)
        #expect(try await store.facts(scope, commit: "a").latestOfCommit?.published == true)
        #expect(try await store.facts(scope, commit: "x").latestOfCommit == nil)
    }

    @Test(
        "a rollback counts once it has published; until then it has changed nothing", arguments: StoreFactory.allCases)
    func factsOfRollbacks(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let scope = DeploymentDraft.sample().scope
        let bad = try await settle(store, .sample(commit: "b"), .sample(.succeeded), published: true)
        func rollBack(_ status: DeploymentStatus, published: Bool) async throws -> Int64 {
            let draft = DeploymentDraft.sample(commit: "a", trigger: .rollback, held: "b")
            return try await settle(store, draft, .sample(status), published: published)
        }
        _ = try await rollBack(.failed, published: false)
        var facts = try await store.facts(scope, commit: "b")
        #expect(facts.latest?.id == bad && facts.lastSettled?.id == bad && facts.latestOfCommit?.id == bad)
        #expect(try await store.facts(scope, commit: "a").latestOfCommit == nil)
        let back = try await rollBack(.succeeded, published: true)
        for status in [DeploymentStatus.failed, .interrupted, .deferred] {
            _ = try await rollBack(status, published: false)
            facts = try await store.facts(scope, commit: "b")
            // What is due goes by what the ref has brought, not by the way back.
            #expect(facts.latest?.id == back && facts.latest?.held == "b")
            #expect(facts.lastSettled?.id == back && facts.lastBrought?.id == bad)
        }
        #expect(try await store.facts(scope, commit: "a").latestOfCommit?.id == back)
    }

    @Test(
        "facts tell apps, hosts and workspaces apart, but see what another app did to the workspace",
        arguments: StoreFactory.allCases)
    func factsScope(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let own = try await settle(store, .sample(commit: "a"), .sample(.succeeded))
        _ = try await settle(store, .sample(commit: "b", host: "other"), .sample(.succeeded))
        _ = try await settle(store, .sample(commit: "c", workspace: "/other"), .sample(.succeeded))
        let scope = DeploymentDraft.sample().scope
        #expect(try await store.facts(scope, commit: "a").latest?.id == own)
        #expect(try await store.facts(scope, commit: "b").latestOfCommit == nil)
        let renamed = try await settle(store, .sample(commit: "d", app: "renamed"), .sample(.succeeded))
        let facts = try await store.facts(scope, commit: "a")
        #expect(facts.latest?.id == renamed && facts.lastSettled?.id == own && facts.lastSucceededCommit == "d")
        #expect(try await store.facts(scope, commit: "d").latestOfCommit == nil)
    }

    @Test(
        "failures are counted per hook and series, and pruning does not refill the budget",
        arguments: StoreFactory.allCases)
    func failures(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let first = try await settle(
            store, .sample(), .sample(.failed, settled: false), runs: [("PRE_DEPLOY", .failed)])
        for attempt in 2...4 {
            _ = try await settle(
                store, .sample(attempt: attempt, series: first), .sample(.failed, settled: false),
                runs: [("PRE_DEPLOY", attempt == 2 ? .timedOut : attempt == 3 ? .deferred : .succeeded)])
        }
        #expect(try await store.failures(series: first, name: "PRE_DEPLOY") == 2)
        #expect(try await store.failures(series: first, name: "POST_DEPLOY") == 0)
        _ = try await store.prune(DeploymentDraft.sample().scope, keep: 1, limit: 100)
        #expect(try await store.failures(series: first, name: "PRE_DEPLOY") == 2)
        let other = try await settle(store, .sample(commit: "b"), .sample(.failed), runs: [("PRE_DEPLOY", .failed)])
        #expect(try await store.failures(series: other, name: "PRE_DEPLOY") == 1)
    }

    @Test(
        "a notification waits until it is taken, the one that is due first before the others",
        arguments: StoreFactory.allCases)
    func notifications(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let scope = DeploymentDraft.sample().scope
        #expect(try await store.nextNotification(scope) == nil)
        let (first, _) = try await store.begin(.sample(), firstRun: nil)
        let (second, _) = try await store.begin(.sample(), firstRun: nil)
        let (elsewhere, _) = try await store.begin(.sample(workspace: "/other"), firstRun: nil)
        func time(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }
        try await store.write([
            .completeDeployment(first.id, .sample(.succeeded)), .notify(deployment: first.id, at: time(10)),
        ])
        try await store.write([.notify(deployment: elsewhere.id, at: time(1))])
        try await store.write([.notify(deployment: second.id, at: time(20))])
        let due = try #require(try await store.nextNotification(scope))
        #expect(due.deployment == first.id && due.attempts == 0 && due.createdAt == time(10) && due.dueAt == time(10))
        try await store.write([.postponeNotification(due.id, until: time(30))])
        let other = try #require(try await store.nextNotification(scope))
        #expect(other.deployment == second.id)
        try await store.write([.removeNotification(other.id)])
        let again = try #require(try await store.nextNotification(scope))
        #expect(again.id == due.id && again.attempts == 1 && again.createdAt == time(10) && again.dueAt == time(30))
        _ = try await store.write([.completeDeployment(second.id, .sample(.succeeded))])
        _ = try await store.prune(scope, keep: 1, limit: 10)
        #expect(try await store.nextNotification(scope) == nil, "a deployment that is deleted is told to nobody")
    }

    @Test("the last run of a hook is found however many deployments came since", arguments: StoreFactory.allCases)
    func lastRun(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let scope = DeploymentDraft.sample().scope
        #expect(try await store.lastRun(scope, kind: .hook, name: "POST_DEPLOY") == nil)
        _ = try await settle(store, .sample(), .sample(.succeeded), runs: [("POST_DEPLOY", .succeeded)])
        _ = try await settle(store, .sample(), .sample(.succeeded), runs: [("POST_DEPLOY", .failed)])
        _ = try await settle(store, .sample(host: "other"), .sample(.succeeded), runs: [("POST_DEPLOY", .timedOut)])
        for _ in 0..<5 {
            _ = try await settle(store, .sample(), .sample(.failed), runs: [("PRE_DEPLOY", .timedOut)])
        }
        let (running, _) = try await store.begin(.sample(), firstRun: nil)
        try await store.write([.beginRun(.sample("POST_DEPLOY", parent: running.id))])
        #expect(try await store.lastRun(scope, kind: .hook, name: "POST_DEPLOY")?.status == .failed)
        #expect(try await store.lastRun(scope, kind: .hook, name: "PRE_DEPLOY")?.status == .timedOut)
    }

    @Test(
        "unfinished lists what is still running on a workspace, on one host or on all",
        arguments: StoreFactory.allCases)
    func unfinished(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let (running, run) = try await store.begin(.sample()) { .sample(parent: $0, marker: "alive") }
        _ = try await store.begin(.sample(workspace: "/other"), firstRun: nil)
        let (elsewhere, _) = try await store.begin(.sample(host: "old-name"), firstRun: nil)
        _ = try await settle(store, .sample(), .sample(.succeeded))
        let here = try await store.unfinished(hosts: ["h"], workspace: "/w")
        let begun = try #require(run)
        #expect(here.deployments.map(\.id) == [running.id] && here.runs.map(\.id) == [begun.id])
        let everywhere = try await store.unfinished(hosts: nil, workspace: "/w")
        #expect(everywhere.deployments.map(\.id) == [running.id, elsewhere.id])
        #expect(try await store.ended(markers: ["alive", "unknown"]).isEmpty)
        try await store.write([.completeRun(begun.id, .sample(.succeeded))])
        #expect(try await store.ended(markers: ["alive", "unknown"]) == ["alive"])
    }

    @Test(
        "history is newest first and filtered by workspace or app, commit, status and limit",
        arguments: StoreFactory.allCases)
    func history(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let a = try await settle(store, .sample(commit: "aabb"), .sample(.succeeded))
        let b = try await settle(store, .sample(commit: "aacc"), .sample(.failed))
        let c = try await settle(store, .sample(commit: "dd", workspace: "/other"), .sample(.succeeded))
        _ = try await settle(store, .sample(commit: "ee", host: "other"), .sample(.succeeded))
        func ids(_ filter: HistoryFilter) async throws -> [Int64] { try await store.history(filter).map(\.id) }
        let workspace = HistoryFilter(host: "h", subject: .workspace("/w"), limit: 10)
        #expect(try await ids(workspace) == [b, a])
        #expect(try await ids(HistoryFilter(host: "h", subject: .app("shop"), limit: 10)) == [c, b, a])
        #expect(try await ids(HistoryFilter(host: "h", subject: .workspace("/w"), limit: 1)) == [b])
        #expect(try await ids(HistoryFilter(host: "h", subject: .workspace("/w"), limit: 9, commit: "aab")) == [a])
        #expect(try await ids(HistoryFilter(host: "h", subject: .workspace("/w"), limit: 9, status: .failed)) == [b])
        #expect(try await ids(HistoryFilter(host: "h", subject: .workspace("/w"), limit: 9, commit: "x%")).isEmpty)
    }

    @Test(
        "one that failed with retries left is settled afterwards, another one is not", arguments: StoreFactory.allCases)
    func settledAfterwards(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        for status in [DeploymentStatus.failed, .deferred, .interrupted] {
            let id = try await store.begin(.sample(), firstRun: nil).deployment.id
            try await store.write([
                .completeDeployment(id, .sample(status, settled: false, retryAt: 9000)), .settle(deployment: id),
            ])
            let deployment = try #require(try await store.deployment(id))
            #expect(
                deployment.settled == (status == .failed) && (deployment.retryAt == nil) == (status == .failed),
                "\(deployment)")
        }
    }

    @Test("a failed deployment can be made due again, a succeeded one cannot", arguments: StoreFactory.allCases)
    func makeDue(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let failed = try await settle(store, .sample(), .sample(.failed, settled: true, retryAt: 5))
        let succeeded = try await settle(store, .sample(commit: "b"), .sample(.succeeded))
        try await store.makeDue(failed)
        try await store.makeDue(succeeded)
        let due = try #require(try await store.deployment(failed))
        #expect(!due.settled && due.retryAt == nil)
        #expect(try await store.deployment(succeeded)?.settled == true)
    }

    @Test(
        "pruning keeps the newest, the last success and what runs, and names the runs that it deleted",
        arguments: StoreFactory.allCases)
    func prune(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let oldSuccess = try await settle(store, .sample(), .sample(.succeeded), runs: [("PRE_DEPLOY", .succeeded)])
        let lastSuccess = try await settle(store, .sample(), .sample(.succeeded))
        let (running, _) = try await store.begin(.sample(), firstRun: nil)
        let other = try await settle(store, .sample(workspace: "/other"), .sample(.failed))
        let oldRuns = try await store.runs(deployment: oldSuccess).map(\.id)
        var newest: [Int64] = []
        for _ in 0..<3 { newest.append(try await settle(store, .sample(), .sample(.failed))) }
        let deleted = try await store.prune(DeploymentDraft.sample().scope, keep: 2, limit: 100)
        #expect(deleted == oldRuns)
        #expect(try await store.deployment(oldSuccess) == nil)
        #expect(try await store.deployment(newest[0]) == nil)
        for id in [lastSuccess, running.id, other, newest[1], newest[2]] {
            #expect(try await store.deployment(id) != nil)
        }
        #expect(try await store.prune(DeploymentDraft.sample().scope, keep: 2, limit: 100).isEmpty)
    }

    @Test(
        "pruning keeps what holds a commit: the newest but for rollbacks that came to nothing",
        arguments: StoreFactory.allCases)
    func pruneKeepsHold(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let success = try await settle(store, .sample(), .sample(.succeeded), published: true)
        let old = try await settle(
            store, .sample(trigger: .rollback, held: "b"), .sample(.failed), published: true)
        let holding = try await settle(
            store, .sample(trigger: .rollback, held: "c"), .sample(.failed), published: true)
        var newest: [Int64] = []
        for _ in 1...4 {
            newest.append(try await settle(store, .sample(trigger: .rollback, held: "c"), .sample(.failed)))
        }
        let scope = DeploymentDraft.sample().scope
        _ = try await store.prune(scope, keep: 2, limit: 100)
        #expect(try await store.facts(scope, commit: "c").latest?.id == holding)
        let left = try await store.history(HistoryFilter(host: scope.host, subject: .workspace("/w"), limit: 100))
        #expect(left.map(\.id) == [newest[3], newest[2], holding, success], "not \(old)")
    }

    @Test("a rollback holds the commit that it went back from, until it is let go", arguments: StoreFactory.allCases)
    func hold(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var draft = DeploymentDraft.sample(commit: "a")
        draft.held = "b"
        draft.withPre = true
        let deployment = try await store.begin(draft, firstRun: nil).deployment
        #expect(deployment.held == "b" && deployment.withPre)
        #expect(try await store.deployment(deployment.id)?.withPre == true)
        #expect(try await !store.begin(.sample(workspace: "/other"), firstRun: nil).deployment.withPre)
        #expect(try await store.facts(draft.scope, commit: "b").latest?.held == "b")
        try await store.releaseHold(deployment.id)
        #expect(try await store.facts(draft.scope, commit: "b").latest?.held == nil)
    }
}

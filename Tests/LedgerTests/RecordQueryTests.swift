import Ledger
import TestSupport
import Testing

/// What every store of the record must do: facts, listings and pruning.
@Suite(.timeLimit(.minutes(1)))
struct RecordQueryTests {
    let folder: TemporaryFolder
    private let scope = DeploymentDraft.sample().scope

    init() throws {
        folder = try TemporaryFolder()
    }

    /// Records a deployment that has ended, with so many runs.
    @discardableResult
    private func end(
        _ store: any LedgerStore, _ draft: DeploymentDraft, _ result: DeploymentResult = .sample(.succeeded),
        runs: Int = 0
    ) async throws -> Int64 {
        let id = try await store.begin(draft, firstRun: nil).deployment.id
        for _ in 0..<runs {
            let run = try await store.write([.beginRun(.sample(parent: id))])[0]
            try await store.write([.completeRun(run.id, .sample(.succeeded))])
        }
        try await store.write([.completeDeployment(id, result)])
        return id
    }

    private func history(
        _ store: any LedgerStore, _ subject: HistoryFilter.Subject = .workspace("/w"), limit: Int = 100,
        commit: String? = nil, status: DeploymentStatus? = nil
    ) async throws -> [Int64] {
        try await store.history(
            HistoryFilter(host: "h", subject: subject, limit: limit, commit: commit, status: status)
        ).map(\.id)
    }

    // MARK: - Facts

    @Test("a running deployment is the latest and not settled", arguments: StoreFactory.allCases)
    func running(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let before = try await end(store, .sample(commit: "a"))
        let running = try await store.begin(.sample(commit: "b"), firstRun: nil).deployment.id
        let facts = try await store.facts(scope, commit: "b")
        #expect(facts.latest?.id == running && facts.latestOfCommit?.id == running)
        #expect(facts.lastSettled?.id == before && facts.lastSucceededCommit == "a")
    }

    @Test("the newest deployment may be all facts at once", arguments: StoreFactory.allCases)
    func allAtOnce(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        try await end(store, .sample(commit: "a"))
        let latest = try await end(store, .sample(commit: "b"))
        let facts = try await store.facts(scope, commit: "b")
        #expect(
            [facts.latest, facts.lastSettled, facts.latestOfCommit].map { $0?.id } == [latest, latest, latest])
        #expect(facts.lastSucceededCommit == "b")
    }

    @Test("of all that a run may come to only failures and timeouts count", arguments: StoreFactory.allCases)
    func failures(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let deployment = try await store.begin(.sample(), firstRun: nil).deployment
        for status in RunStatus.allCases {
            let run = try await store.write([.beginRun(.sample(parent: deployment.id))])[0]
            try await store.write([.completeRun(run.id, .sample(status))])
        }
        let post = try await store.write([.beginRun(.sample("POST_DEPLOY", parent: deployment.id))])[0]
        try await store.write([.completeRun(post.id, .sample(.failed))])
        #expect(try await store.failures(series: deployment.series, name: "PRE_DEPLOY") == 2)
        #expect(try await store.failures(series: deployment.series, name: "POST_DEPLOY") == 1)
    }

    @Test(
        "whatever did not succeed can be made due, and nothing else is touched", arguments: StoreFactory.allCases,
        [DeploymentStatus.failed, .interrupted, .deferred])
    func makeDue(factory: StoreFactory, status: DeploymentStatus) async throws {
        let store = try await factory.make(in: folder)
        let one = try await end(store, .sample(), .sample(status, retryAt: 9))
        let other = try await end(store, .sample(commit: "b"), .sample(status, retryAt: 9))
        try await store.makeDue(one)
        let due = try #require(try await store.deployment(one))
        #expect(!due.settled && due.retryAt == nil && due.status == status)
        let untouched = try #require(try await store.deployment(other))
        #expect(untouched.settled && untouched.retryAt?.milliseconds == 9)
    }

    @Test("a run that was forgotten in an ended deployment is unfinished", arguments: StoreFactory.allCases)
    func forgotten(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let ended = try await end(store, .sample(), runs: 1)
        let forgotten = try await store.write([.beginRun(.sample(parent: ended))])[0]
        let renamed = try await store.begin(.sample(app: "renamed"), firstRun: nil).deployment.id
        let unfinished = try await store.unfinished(hosts: ["h"], workspace: "/w")
        #expect(unfinished.runs.map(\.id) == [forgotten.id] && unfinished.deployments.map(\.id) == [renamed])
    }

    // MARK: - Listing

    @Test(
        "a commit is listed by its id or the beginning of it, which is text and no pattern",
        arguments: StoreFactory.allCases)
    func commitFilter(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let commit = String(repeating: "1", count: 40)
        let first = try await end(store, .sample(commit: commit))
        try await end(store, .sample(commit: "2" + commit.dropFirst()))
        let third = try await end(store, .sample(commit: commit), .sample(.failed))
        for filter in [commit, "1", "1111111"] {
            #expect(try await history(store, commit: filter) == [third, first])
        }
        #expect(try await history(store, limit: 1, commit: "1111111") == [third])
        #expect(try await history(store, commit: "11", status: .failed) == [third])
        for filter in ["12", commit + "1", "%", "_", "1%", "[1]*", "' OR 1=1 --"] {
            #expect(try await history(store, commit: filter).isEmpty, "\(filter)")
        }
        #expect(try await history(store, limit: 0).isEmpty)
    }

    @Test(
        "a workspace lists what was deployed to it under any name, an app what it deployed anywhere",
        arguments: StoreFactory.allCases)
    func subjects(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let own = try await end(store, .sample())
        let renamed = try await end(store, .sample(app: "renamed"))
        let moved = try await end(store, .sample(workspace: "/moved"))
        try await end(store, .sample(app: "other", workspace: "/other"))
        try await end(store, .sample(host: "other"))
        #expect(try await history(store, .workspace("/w")) == [renamed, own])
        #expect(try await history(store, .app("shop")) == [moved, own])
    }

    // MARK: - Pruning

    @Test("as many as are kept are left alone", arguments: StoreFactory.allCases, [3, 4, 1000])
    func enough(factory: StoreFactory, keep: Int) async throws {
        let store = try await factory.make(in: folder)
        for _ in 1...3 { try await end(store, .sample(), runs: 1) }
        #expect(try await store.prune(scope, keep: keep, limit: 100).isEmpty)
        #expect(try await history(store).count == 3)
    }

    @Test(
        "at most so many deployments go at once, the oldest first, with all of their runs",
        arguments: StoreFactory.allCases)
    func limit(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var ids: [Int64] = []
        for _ in 1...5 { ids.append(try await end(store, .sample(), runs: 2)) }
        let first = try #require(try await store.runs(deployment: ids[0]).first)
        #expect(try await store.prune(scope, keep: 1, limit: 3).count == 6)
        #expect(try await history(store) == [ids[4], ids[3]])
        #expect(try await store.run(first.id) == nil)
        #expect(try await store.runs(deployment: ids[3]).count == 2)
    }

    @Test("a running deployment keeps its runs, however old", arguments: StoreFactory.allCases)
    func runningStays(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let run = try #require(try await store.begin(.sample()) { .sample(parent: $0) }.run)
        for _ in 1...3 { try await end(store, .sample()) }
        _ = try await store.prune(scope, keep: 1, limit: 100)
        #expect(try await store.run(run.id)?.status == .running)
    }

    @Test("other apps, hosts and workspaces keep theirs", arguments: StoreFactory.allCases)
    func others(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var others: [Int64] = []
        for _ in 1...2 {
            for draft in [
                DeploymentDraft.sample(app: "other"), .sample(host: "other"), .sample(workspace: "/other"),
            ] { others.append(try await end(store, draft)) }
            try await end(store, .sample())
        }
        _ = try await store.prune(scope, keep: 1, limit: 100)
        for id in others { #expect(try await store.deployment(id) != nil) }
        #expect(try await history(store, .app("shop")).count == 3)
    }

    @Test("a run's id is never given twice, also after the newest run was deleted", arguments: StoreFactory.allCases)
    func ids(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let last = try await end(store, .sample(), .sample(.failed), runs: 1)
        let lastRun = try #require(try await store.runs(deployment: last).first)
        try await end(store, .sample(), .sample(.failed))
        #expect(try await store.prune(scope, keep: 1, limit: 100) == [lastRun.id])
        let next = try await store.begin(.sample()) { .sample(parent: $0) }
        #expect(try #require(next.run).id > lastRun.id)
    }
}

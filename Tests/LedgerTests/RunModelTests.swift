import GRDB
import Ledger
import Postgres
import TestSupport
import Testing

@testable import LedgerPostgres

/// What every store must do with a run, whatever it is of and whatever it belongs to.
@Suite(.timeLimit(.minutes(2)))
struct RunModelTests {
    let folder: TemporaryFolder
    private let scope = DeploymentDraft.sample().scope

    init() throws {
        folder = try TemporaryFolder()
    }

    /// A run that belongs to nothing, ended unless it goes on.
    @discardableResult
    private func run(
        _ store: any LedgerStore, _ status: RunStatus? = .succeeded, _ change: (inout RunDraft) -> Void = { _ in }
    ) async throws -> Run {
        var draft = RunDraft.sample(parent: nil)
        change(&draft)
        let run = try await store.write([.beginRun(draft)])[0]
        if let status { try await store.write([.completeRun(run.id, .sample(status))]) }
        return run
    }

    /// Changes the tables as nobody else does.
    private func execute(_ sql: String, _ store: any LedgerStore) async throws {
        if let store = store as? PostgresLedger {
            let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
            try await administrator.run { session in
                try session.query("SET search_path TO \(store.schema)")
                try session.query(sql)
            }
        } else {
            let queue = try DatabaseQueue(path: folder.path + "/ledger.sqlite")
            try await queue.write { try $0.execute(sql: sql) }
            try queue.close()
        }
    }

    @Test("a run says by itself for which app and where it ran, and by whom", arguments: StoreFactory.allCases)
    func place(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let place = Scope(app: "o'\"ther", host: "€", workspace: "/srv/it's")
        let made = try await run(store, nil) {
            $0.place = place
            $0.worker = "process 7, lane 2"
        }
        for run in [made, try #require(try await store.run(made.id))] {
            #expect(run.place == place && run.worker == "process 7, lane 2" && run.parent == nil)
        }
        let nobodys = try #require(try await store.run(run(store).id))
        #expect(nobodys.worker == nil && nobodys.place == scope)
    }

    @Test("a run that belongs to nothing is brought in order after a kill", arguments: StoreFactory.allCases)
    func unfinished(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        try await run(store)
        let here = try await run(store, nil)
        let elsewhere = try await run(store, nil) { $0.place.host = "other" }
        try await run(store, nil) { $0.place.workspace = "/other" }
        #expect(try await store.unfinished(hosts: ["h"], workspace: "/w").runs.map(\.id) == [here.id])
        #expect(try await store.unfinished(hosts: nil, workspace: "/w").runs.map(\.id) == [here.id, elsewhere.id])
        try await store.write([.abandonRun(here.id, .sample(.interrupted))])
        #expect(try await store.unfinished(hosts: ["h"], workspace: "/w").runs.isEmpty)
    }

    @Test("a run that belongs to nothing ends with its lease, when its agent is gone", arguments: StoreFactory.allCases)
    func leaseRunOut(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        guard case .granted(_, let first, _) = try await store.claimTask("t-v1") else {
            throw PreparationFailed("not granted")
        }
        #expect(first.parent == nil)
        try await execute(
            store is PostgresLedger
                ? "UPDATE leases SET expires_at = clock_timestamp() - interval '1 ms', holder = 'gone'"
                : "UPDATE leases SET expires_at = 1, holder = 'gone'", store)
        guard case .granted(let lease, let second, _) = try await store.claimTask("t-v1") else {
            throw PreparationFailed("not granted")
        }
        #expect(lease.fence == 2 && second.parent == nil)
        let ended = try #require(try await store.run(first.id))
        #expect(ended.status == .interrupted && ended.errorMessage?.contains("did not renew its lease") == true)
    }

    @Test(
        "who takes the result over learns where it ran, with or without a deployment", arguments: StoreFactory.allCases)
    func answer(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        func claim(_ host: String, ignoresBackoff: Bool) async throws -> ClaimAnswer {
            var draft = RunDraft.sample("t-v1", parent: nil, host: host)
            draft.kind = .task
            return try await store.claim(
                ClaimRequest(
                    scope: draft.place, commit: "a", holder: "process of \(host)", run: draft, retries: nil,
                    isLenient: false, ignoresBackoff: ignoresBackoff, isForced: false))
        }
        guard case .granted(let lease, let run, _) = try await claim("h1", ignoresBackoff: true) else {
            throw PreparationFailed("not granted")
        }
        _ = try await store.complete(
            ClaimResult(
                lease: lease, commit: "a", task: "t-v1", run: run.id, result: .sample(.failed, exitCode: 3),
                retryIn: .seconds(600)))
        let later = try await claim("h2", ignoresBackoff: false)
        guard case .done(run.id, "h1", let end, 1, _?) = later else { throw PreparationFailed("\(later)") }
        #expect(end.status == .failed && end.exitCode == 3)
    }

    @Test(
        "a run of a kind that nobody here knows is read, and left to whom it belongs", arguments: StoreFactory.allCases)
    func unknownKind(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let deployment = try await store.settle(.sample())
        for commit in ["b", "c"] { try await store.settle(.sample(commit: commit)) }
        let kind = RunKind(rawValue: "step")
        let parent = RunParent(kind: .init(rawValue: "job"), id: deployment.id)
        let step = try await run(store) {
            $0.kind = kind
            $0.parent = parent
        }
        let read = try #require(try await store.run(step.id))
        #expect(read.kind == kind && read.parent == parent && read.deployment == nil)
        #expect(try await store.lastRun(scope, kind: kind, name: "PRE_DEPLOY")?.id == step.id)
        #expect(try await store.lastRun(scope, kind: .hook, name: "PRE_DEPLOY")?.id != step.id)
        #expect(try await store.runs(deployment: deployment.id).allSatisfy { $0.kind == .hook })
        // The deployment with the same number goes.
        #expect(try await store.prune(scope, keep: 1, limit: 10).count == 2)
        #expect(try await store.run(step.id)?.status == .succeeded)
        #expect(try await store.page(after: 0, limit: 10).entries.flatMap(\.runs).allSatisfy { $0.run.kind == .hook })
    }

    @Test("a trigger that nobody here knows is kept as it came", arguments: StoreFactory.allCases)
    func unknownTrigger(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let begun = try await store.begin(.sample(trigger: Trigger(rawValue: "cron")), firstRun: nil).deployment
        #expect(try await store.deployment(begun.id)?.trigger.rawValue == "cron")
    }

    // MARK: - Retention

    @Test(
        "of the runs that belong to nothing the newest of a place stay, and those that have not ended",
        arguments: StoreFactory.allCases)
    func pruneAlone(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let running = try await run(store, nil)
        var others: [Int64] = []
        for change: @Sendable (inout RunDraft) -> Void in [
            { $0.place.app = "other" }, { $0.place.host = "other" }, { $0.place.workspace = "/other" },
        ] { others.append(try await run(store, .failed, change).id) }
        let ofDeployment = try #require(try await store.runs(deployment: store.settle(.sample()).id).first)
        var own: [Int64] = []
        for _ in 0..<5 { own.append(try await run(store).id) }
        #expect(try await store.pruneAlone(scope, keep: 5).isEmpty)
        #expect(try await store.pruneAlone(scope, keep: 4) == [own[0]])
        #expect(try await store.prune(scope, keep: 2, limit: 10) == [own[1], own[2]])
        #expect(try await store.run(own[2]) == nil)
        #expect(try await store.outputTail(run: own[2]) == "")
        for id in own[3...] + others + [running.id, ofDeployment.id] { #expect(try await store.run(id) != nil) }
        #expect(try await store.outputTail(run: own[4]) == "out")
    }

    // MARK: - Moving

    @Test("runs that belong to nothing move to another record, however often", arguments: CopyDirection.all)
    func copy(direction: CopyDirection) async throws {
        let other = try TemporaryFolder()
        let (from, to) = (try await direction.from.make(in: folder), try await direction.to.make(in: other))
        try await to.settle(.sample(host: "h0"))
        var ended: [Run] = []
        for number in 0..<3 { ended.append(try await run(from) { $0.attempt = number + 1 }) }
        let running = try await run(from, nil)
        #expect(try await to.copyAlone(from, pageSize: 2) == 4)
        #expect(try await to.copyAlone(from, pageSize: 2) == 0)
        // Numbers that are taken are not given again.
        let page = try await to.runPage(after: 0, limit: 100)
        #expect(page.runs.map(\.run.marker) == (ended + [running]).map(\.marker))
        #expect(page.runs.map(\.run.attempt) == [1, 2, 3, 1] && Set(page.runs.map(\.run.id)).count == 4)
        #expect(page.runs.map(\.outputTail) == ["out", "out", "out", ""])
        #expect(page.runs.allSatisfy { $0.run.parent == nil && $0.run.place == scope && $0.run.id > 1 })
        let next = try await to.settle(.sample(commit: "b", host: "h0"))
        #expect(try await to.runs(deployment: next.id).allSatisfy { $0.id > page.runs[3].run.id })
        // What was copied while it ran is set right.
        try await from.write([.completeRun(running.id, .sample(.failed))])
        #expect(try await to.copyAlone(from, pageSize: 2) == 1)
        let after = try await to.runPage(after: 0, limit: 100).runs
        #expect(after.map(\.run.id) == page.runs.map(\.run.id) && after[3].run.status == .failed)
        #expect(after[3].outputTail == "out")
    }

    // MARK: - What runs print

    @Test("whatever lists runs reads nothing of what they printed", arguments: StoreFactory.allCases)
    func outputsApart(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let deployment = try await store.settle(.sample())
        try await store.runTask("t-v1", .succeeded)
        let open = try await run(store, nil)
        try await execute("DROP TABLE run_outputs", store)
        #expect(try await store.history(HistoryFilter(host: nil, subject: .app("shop"), limit: 9)).count == 1)
        let hook = try #require(try await store.runs(deployment: deployment.id).first)
        #expect(try await store.tasks().first?.run?.status == .succeeded)
        #expect(try await store.unfinished(hosts: nil, workspace: "/w").runs.map(\.id) == [open.id])
        #expect(try await store.lastRun(scope, kind: .hook, name: "PRE_DEPLOY")?.id == hook.id)
        #expect(try await store.run(hook.id)?.status == .succeeded)
        #expect(try await store.facts(scope, commit: "a").latest?.id == deployment.id)
        #expect(try await store.outcomes(after: nil, limit: 9).count == 1)
        guard case .done = try await store.claimTask("t-v1") else { throw PreparationFailed("it is run again") }
        if let store = store as? PostgresLedger { #expect(try await store.fleet(app: "shop").hosts.isEmpty) }
        await #expect(throws: LedgerError.self) { try await store.outputTail(run: hook.id) }
    }

    @Test("what a deployment's runs printed goes with it", arguments: StoreFactory.allCases)
    func outputsPruned(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let old = try await store.settle(.sample())
        let run = try #require(try await store.runs(deployment: old.id).first)
        #expect(try await store.outputTail(run: run.id) == "out")
        try await store.settle(.sample(commit: "b"))
        #expect(try await store.prune(scope, keep: 1, limit: 10) == [run.id])
        #expect(try await store.outputTail(run: run.id) == "")
    }
}

extension LedgerStore {
    /// Copies another record's runs that belong to nothing into this one.
    ///
    /// - Returns: how many were added.
    fileprivate func copyAlone(_ source: any LedgerStore, pageSize: Int) async throws -> Int {
        var (last, count): (Int64, Int) = (0, 0)
        while true {
            let page = try await source.runPage(after: last, limit: pageSize)
            guard let end = page.runs.last else { return count }
            count += try await insert(page).runs
            last = end.run.id
        }
    }
}

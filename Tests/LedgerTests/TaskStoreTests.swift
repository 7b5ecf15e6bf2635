import Ledger
import TestSupport
import Testing

/// What every store must do about one-time tasks.
@Suite(.timeLimit(.minutes(2)))
struct TaskStoreTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func request(
        _ store: any LedgerStore, _ id: String = "drop-v1", host: String = "h1", commit: String = "a",
        digest: String = "d1", retries: Int? = nil, ignoresBackoff: Bool = false, isForced: Bool = false,
        awaited: Int64? = nil
    ) async throws -> ClaimRequest {
        let draft = DeploymentDraft.sample(commit: commit, host: host)
        var run = RunDraft.sample(id, parent: try await store.begin(draft, firstRun: nil).deployment.id, host: host)
        run.kind = .task
        run.digest = digest
        return ClaimRequest(
            scope: draft.scope, commit: commit, holder: "process of \(host)", run: run, retries: retries,
            isLenient: false, ignoresBackoff: ignoresBackoff, isForced: isForced, awaited: awaited)
    }

    private func granted(_ answer: ClaimAnswer) throws -> (lease: Lease, run: Run, failures: Int) {
        guard case .granted(let lease, let run, let failures) = answer else {
            throw PreparationFailed("not granted: \(answer)")
        }
        return (lease, run, failures)
    }

    /// - Returns: how often it has failed; nil when the lease had passed on.
    private func complete(
        _ store: any LedgerStore, _ claim: (lease: Lease, run: Run, failures: Int), _ status: RunStatus,
        retryIn: Duration? = nil
    ) async throws -> Int? {
        var result = RunResult.sample(status, exitCode: status == .succeeded ? 0 : 1)
        if status != .succeeded { result.errorMessage = "exit code 1\nand more" }
        return try await store.complete(
            ClaimResult(
                lease: claim.lease, commit: "a", task: claim.run.name, run: claim.run.id, result: result,
                retryIn: retryIn))
    }

    private func toDo(_ store: any LedgerStore, _ entries: (String, String)...) async throws -> [TaskToDo] {
        try await store.toDo(entries.map { TaskEntry(id: $0.0, digest: $0.1) }, app: "shop").sorted { $0.id < $1.id }
    }

    private func action(_ name: TaskAction.Name, _ task: String, digest: String? = "d1") -> TaskAction {
        TaskAction(
            name, app: "shop", task: task, digest: digest, user: "ada", host: "h1", at: Timestamp(milliseconds: 5000))
    }

    @Test(
        "a task that succeeded is done whatever comes: another commit, another host", arguments: StoreFactory.allCases)
    func done(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        #expect(try await toDo(store, ("drop-v1", "d1"), ("x", "d")).map(\.id) == ["drop-v1", "x"])
        let claim = try granted(await store.claim(request(store)))
        #expect(claim.run.kind == .task && claim.run.attempt == 1 && claim.lease.fence == 1 && claim.run.fence == 1)
        #expect(claim.run.digest == "d1" && claim.failures == 0)
        #expect(try await complete(store, claim, .succeeded) == 0)
        #expect(try await toDo(store, ("drop-v1", "d1"), ("x", "d")) == [TaskToDo(id: "x", isDone: false)])
        for forced in [false, true] {
            let again = try await store.claim(request(store, host: "h2", commit: "b", isForced: forced))
            guard case .done(let run, _, let result, 0, nil) = again else { throw PreparationFailed("\(again)") }
            #expect(run == claim.run.id && result.status == .succeeded)
        }
        let record = try #require(try await store.tasks().first)
        #expect(record.id == "drop-v1" && record.isDone && record.result == "success" && record.completedAt != nil)
        #expect(record.run?.id == claim.run.id && record.held == nil)
        #expect(record.outcome?.attempt == .init(number: 1, digest: "d1", app: "shop", host: "h1", commit: "a"))
    }

    @Test(
        "the id alone is the key: what runs for another app of the record runs, and what it has done is done",
        arguments: StoreFactory.allCases)
    func otherApp(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let claim = try granted(await store.claim(request(store)))
        var other = try await request(store, host: "h2")
        other.scope = Scope(app: "blog", host: "h2", workspace: "/w")
        guard case .held(let held) = try await store.claim(other) else { throw PreparationFailed("it is run twice") }
        #expect(held.run == claim.run.id && held.host == "h1" && held.expiresIn > .seconds(10))
        #expect(try await complete(store, claim, .succeeded) == 0)
        guard case .done = try await store.claim(other) else { throw PreparationFailed("it is run again") }
        let entries = [TaskEntry(id: "drop-v1", digest: "d1")]
        #expect(
            try await store.toDo(entries, app: "blog") == [TaskToDo(id: "drop-v1", isDone: true, otherApp: "shop")])
        #expect(try await store.toDo(entries, app: "shop") == [])
        var free = try await request(store, "free-v1", host: "h2")
        free.scope = other.scope
        _ = try granted(await store.claim(free))
    }

    @Test(
        "a lease that ran out passes on to another app too: the one that had it renews and records nothing any more",
        arguments: StoreFactory.allCases)
    func passedToOtherApp(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let first = try granted(await store.claim(request(store)))
        // As a lease ends that nobody renews.
        try await store.write([.abandonRun(first.run.id, .sample(.interrupted))])
        var other = try await request(store, host: "h2")
        other.scope = Scope(app: "blog", host: "h2", workspace: "/w")
        let second = try granted(await store.claim(other))
        #expect(second.lease.fence == 2 && second.run.attempt == 2)
        #expect(try await !store.renew(first.lease))
        #expect(try await complete(store, first, .succeeded) == nil)
        #expect(try await store.tasks().first?.isDone == false)
        #expect(try await complete(store, second, .succeeded) == 0)
        #expect(try await store.tasks().first?.isDone == true)
    }

    @Test(
        "a lease that is held keeps its number when another record with a higher one is added; one that is free takes it",
        arguments: StoreFactory.allCases)
    func addedFence(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let claim = try granted(await store.claim(request(store)))
        let higher = RecordMembers(fences: [.init(app: claim.lease.app, name: claim.lease.name, number: 7)], agents: [])
        try await store.insert(higher)
        #expect(try await store.renew(claim.lease))
        #expect(try await complete(store, claim, .failed) == 1)
        try await store.insert(higher)
        #expect(try granted(await store.claim(request(store, ignoresBackoff: true))).lease.fence == 8)
    }

    @Test("one that was done as something else is named, and not due", arguments: StoreFactory.allCases)
    func changed(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        _ = try await complete(store, granted(store.claim(request(store))), .succeeded)
        #expect(try await toDo(store, ("drop-v1", "d2")) == [TaskToDo(id: "drop-v1", isDone: true)])
    }

    @Test("ids are text, whatever is in them", arguments: StoreFactory.allCases)
    func ids(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let ids = ["a \"quoted\" \\ one", "größe-v1 ✓", "'; DROP TABLE runs; --", "%_"]
        for id in ids { _ = try await complete(store, granted(store.claim(request(store, id))), .succeeded) }
        let entries = (ids + ["open"]).map { TaskEntry(id: $0, digest: "d1") }
        #expect(try await store.toDo(entries, app: "shop") == [TaskToDo(id: "open", isDone: false)])
        #expect(Set(try await store.tasks().map(\.id)) == Set(ids))
    }

    @Test("a failure is tried again after its backoff, as often as its retries allow", arguments: StoreFactory.allCases)
    func failures(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let first = try granted(await store.claim(request(store, retries: 1)))
        #expect(try await complete(store, first, .failed, retryIn: .seconds(60)) == 1)
        let waiting = try await store.claim(request(store, retries: 1))
        guard case .done(_, _, let result, 1, let retryIn?) = waiting else { throw PreparationFailed("\(waiting)") }
        #expect(result.status == .failed && retryIn > .seconds(30))
        #expect(try await toDo(store, ("drop-v1", "d2")) == [TaskToDo(id: "drop-v1", isDone: false)])
        let record = try #require(try await store.tasks().first)
        #expect(!record.isDone && record.result == "exit code 1" && record.outcome?.failures == 1)
        let second = try granted(await store.claim(request(store, retries: 1, ignoresBackoff: true)))
        #expect(second.run.attempt == 2 && second.failures == 1 && second.lease.fence == 2)
        #expect(try await complete(store, second, .timedOut) == 2)
        let over = try await store.claim(request(store, retries: 1, ignoresBackoff: true))
        guard case .done(_, _, _, 2, _) = over else { throw PreparationFailed("\(over)") }
        // A person may ask for it by name; what succeeds then counts.
        let named = try granted(await store.claim(request(store, retries: 1, isForced: true)))
        #expect(try await complete(store, named, .succeeded) == 2)
        #expect(try await store.tasks().first?.isDone == true)
    }

    @Test(
        "what failed on another host for the same commit is not tried by every host that is told to look",
        arguments: StoreFactory.allCases)
    func rollout(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let first = try granted(await store.claim(request(store)))
        #expect(try await complete(store, first, .failed, retryIn: .seconds(60)) == 1)
        let other = try await store.claim(request(store, host: "h2", ignoresBackoff: true))
        guard case .done(_, _, _, 1, _?) = other else { throw PreparationFailed("\(other)") }
        // Another commit, or the host itself, is another matter.
        let mended = try granted(await store.claim(request(store, host: "h2", commit: "b", ignoresBackoff: true)))
        #expect(mended.run.attempt == 2)
    }

    @Test("while one runs it, nobody else does; who waited takes the result", arguments: StoreFactory.allCases)
    func held(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let claim = try granted(await store.claim(request(store)))
        let other = try await store.claim(request(store, host: "h2", commit: "b"))
        guard case .held(let by) = other else { throw PreparationFailed("\(other)") }
        #expect(by.run == claim.run.id && by.host == "h1" && by.expiresIn > .seconds(10))
        #expect(try await store.tasks().first?.held?.run == claim.run.id)
        for name in [TaskAction.Name.done, .retry, .reset] {
            #expect(try await store.record(action(name, "drop-v1"))?.run == claim.run.id)
        }
        #expect(try await store.renew(claim.lease))
        #expect(try await complete(store, claim, .failed, retryIn: nil) == 1)
        let waited = try await store.claim(request(store, host: "h2", awaited: claim.run.id))
        guard case .done(claim.run.id, _, _, 1, _) = waited else { throw PreparationFailed("\(waited)") }
        #expect(try await store.renew(claim.lease) == false)
    }

    @Test("many that ask at once for many tasks: each is granted once", arguments: StoreFactory.allCases)
    func once(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var requests: [ClaimRequest] = []
        for host in 0..<5 {
            for task in 0..<5 { requests.append(try await request(store, "t\(task)", host: "h\(host)")) }
        }
        let answers = try await withThrowingTaskGroup(of: ClaimAnswer.self) { group in
            for request in requests { group.addTask { try await store.claim(request) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let runs = answers.compactMap { if case .granted(_, let run, _) = $0 { run } else { nil } }
        #expect(runs.map(\.name).sorted() == ["t0", "t1", "t2", "t3", "t4"])
    }

    @Test(
        "a run whose agent is gone passes on at once, is no failure and can write nothing more",
        arguments: StoreFactory.allCases)
    func abandoned(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let first = try granted(await store.claim(request(store, retries: 0)))
        try await store.write([.abandonRun(first.run.id, .sample(.interrupted))])
        let second = try granted(await store.claim(request(store, host: "h2", retries: 0)))
        #expect(second.run.attempt == 2 && second.failures == 0 && second.lease.fence == 2)
        #expect(try await complete(store, first, .succeeded) == nil)
        #expect(try await store.run(first.run.id)?.status == .interrupted)
        // Its deployment is not the task's to end.
        #expect(try await store.deployment(first.run.owner())?.status == .running)
        #expect(try await complete(store, second, .succeeded) == 0)
    }

    @Test("a result whose answer was lost is written once", arguments: StoreFactory.allCases)
    func twice(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let asked = try await request(store)
        let claim = try granted(await store.claim(asked))
        #expect(try granted(await store.claim(asked)).run.id == claim.run.id)
        #expect(try await complete(store, claim, .failed) == 1)
        #expect(try await complete(store, claim, .failed) == 1)
    }

    @Test("a person marks, retries and resets, and each is recorded", arguments: StoreFactory.allCases)
    func actions(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        #expect(try await store.record(action(.done, "other-v1", digest: nil)) == nil)
        #expect(try await toDo(store, ("other-v1", "d9")) == [])
        _ = try await complete(store, granted(store.claim(request(store, retries: 0))), .failed, retryIn: .seconds(60))
        #expect(try await store.record(action(.retry, "drop-v1")) == nil)
        let again = try granted(await store.claim(request(store, retries: 0)))
        _ = try await complete(store, again, .succeeded)
        #expect(try await store.record(action(.reset, "drop-v1")) == nil)
        #expect(try await toDo(store, ("drop-v1", "d1")).map(\.id) == ["drop-v1"])
        let third = try granted(await store.claim(request(store)))
        #expect(third.lease.fence == 3 && third.run.attempt == 1)
        #expect(try await store.record(action(.run, "drop-v1")) == nil)
        let records = try await store.tasks()
        #expect(records.map(\.id) == ["drop-v1", "other-v1"])
        #expect(records[0].actions.map(\.name) == [.run, .reset, .retry])
        #expect(records[1].actions == [action(.done, "other-v1", digest: nil)] && records[1].isDone)
    }

    @Test("runs of tasks belong to their deployment, and go with it", arguments: StoreFactory.allCases)
    func parents(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let claim = try granted(await store.claim(request(store)))
        #expect(try await store.runs(deployment: claim.run.owner()).map(\.id) == [claim.run.id])
        #expect(try await store.unfinished(hosts: nil, workspace: "/w").runs.map(\.id) == [claim.run.id])
        _ = try await complete(store, claim, .succeeded)
        var result = DeploymentResult.sample(.succeeded)
        result.tasks = TaskCounts(ran: 1, skipped: 2, failed: 3, error: "why")
        try await store.write([.completeDeployment(try claim.run.owner(), result)])
        #expect(try await store.deployment(claim.run.owner())?.tasks == result.tasks)
        for commit in ["b", "c"] {
            let next = try await store.begin(.sample(commit: commit, host: "h1"), firstRun: nil).deployment
            try await store.write([.completeDeployment(next.id, .sample(.succeeded))])
        }
        #expect(
            try await store.prune(.init(app: "shop", host: "h1", workspace: "/w"), keep: 1, limit: 10)
                == [claim.run.id])
        let record = try #require(try await store.tasks().first)
        #expect(record.isDone && record.run == nil && record.outcome?.attempt.commit == "a")
        let later = try await store.claim(request(store))
        guard case .done(_, nil, let done, _, _) = later else { throw PreparationFailed("\(later)") }
        #expect(done.status == .succeeded)
    }

    @Test("of the runs that put themselves off the newest stay, and all others", arguments: StoreFactory.allCases)
    func deferrals(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var runs: [Int64] = []
        let failed = try granted(await store.claim(request(store, "bad-v1")))
        let deployment = try failed.run.owner()
        _ = try await complete(store, failed, .failed)
        for _ in 0..<5 {
            var again = try await request(store)
            again.run.parent = .deployment(deployment)
            let claim = try granted(await store.claim(again))
            runs.append(claim.run.id)
            _ = try await complete(store, claim, .deferred)
        }
        #expect(try await store.pruneDeferred(deployment: deployment, keep: 5) == [])
        #expect(try await store.pruneDeferred(deployment: deployment + 1, keep: 0) == [])
        #expect(try await Set(store.pruneDeferred(deployment: deployment, keep: 2)) == Set(runs[..<3]))
        #expect(try await store.runs(deployment: deployment).map(\.id) == [failed.run.id] + runs[3...])
    }

    @Test("all of it moves to another record, however often", arguments: CopyDirection.all)
    func copy(direction: CopyDirection) async throws {
        let other = try TemporaryFolder()
        let (from, to) = (try await direction.from.make(in: folder), try await direction.to.make(in: other))
        _ = try await complete(from, granted(from.claim(request(from))), .succeeded)
        let failing = try granted(await from.claim(request(from, "bad-v1", commit: "b")))
        _ = try await complete(from, failing, .failed, retryIn: .seconds(600))
        for name in [TaskAction.Name.done, .done] { _ = try await from.record(action(name, "by-hand-v1")) }
        for _ in 0..<2 {
            try await to.copy(from)
            try await to.insert(from.members())
            try await to.insert(from.outcomes(after: nil, limit: 100))
            try await to.insert(from.doneTasks(after: nil, limit: 100))
            try await to.insert(from.taskActions(after: 0, limit: 100).map(\.action))
        }
        #expect(try await toDo(to, ("drop-v1", "d1"), ("bad-v1", "d1"), ("by-hand-v1", "d1")).map(\.id) == ["bad-v1"])
        let (old, new) = (try await from.tasks(), try await to.tasks())
        #expect(old.map(\.id) == new.map(\.id) && old.map(\.result) == new.map(\.result))
        #expect(old.map(\.outcome?.attempt) == new.map(\.outcome?.attempt))
        #expect(old.map(\.outcome?.marker) == new.map(\.outcome?.marker))
        #expect(old.map(\.run?.digest) == new.map(\.run?.digest))
        // The same second time, told apart by nothing, is one.
        #expect(new.first { $0.id == "by-hand-v1" }?.actions.count == 1)
        let again = try await to.claim(request(to, "bad-v1"))
        guard case .done(_, _, _, 1, _?) = again else { throw PreparationFailed("\(again)") }
        #expect(try granted(await to.claim(request(to, "bad-v1", ignoresBackoff: true))).lease.fence == 2)
        #expect(try await from.doneTasks(after: "by-hand-v1", limit: 1).map(\.id) == ["drop-v1"])
    }
}

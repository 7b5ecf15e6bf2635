import Ledger
import Postgres
import TestSupport
import Testing

@testable import LedgerPostgres

/// Hooks that run once for all hosts: who gets them, and what the others learn.
@Suite(.timeLimit(.minutes(2)))
struct ClaimTests {
    private let schema = uniqueText()

    private func ledger() async throws -> PostgresLedger { try await StoreFactory.shared(schema: schema) }

    /// A deployment on a host, and its request.
    private func request(
        _ store: PostgresLedger, host: String, commit: String = "a", retries: Int? = nil, isLenient: Bool = false,
        ignoresBackoff: Bool = false, isForced: Bool = false, awaited: Int64? = nil
    ) async throws -> ClaimRequest {
        let draft = DeploymentDraft.sample(commit: commit, host: host)
        let deployment = try await store.begin(draft, firstRun: nil).deployment
        var run = RunDraft.sample(parent: deployment.id, host: host)
        run.scope = .fleet
        return ClaimRequest(
            scope: draft.scope, commit: commit, holder: "process of \(host)", run: run, retries: retries,
            isLenient: isLenient, ignoresBackoff: ignoresBackoff, isForced: isForced, awaited: awaited)
    }

    private func granted(_ answer: ClaimAnswer, sourceLocation: SourceLocation = #_sourceLocation) throws
        -> (lease: Lease, run: Run)
    {
        guard case .granted(let lease, let run, _) = answer else {
            throw PreparationFailed("not granted: \(answer)")
        }
        return (lease, run)
    }

    private func complete(
        _ store: PostgresLedger, _ claim: (lease: Lease, run: Run), _ status: RunStatus, commit: String = "a",
        retryIn: Duration? = nil
    ) async throws -> Int? {
        try await store.complete(
            ClaimResult(
                lease: claim.lease, commit: commit, run: claim.run.id,
                result: .sample(status, exitCode: status == .succeeded ? 0 : 1), retryIn: retryIn))
    }

    /// Lets every lease run out.
    private func expire() async throws {
        let administrator = try await PostgresConnection(ConnectionString(StoreFactory.cluster.value.url()))
        let schema = schema
        try await administrator.run {
            try $0.query("UPDATE \(schema).leases SET expires_at = clock_timestamp() - interval '1 ms'")
        }
    }

    @Test("of many that ask at once one gets it, and the others learn who")
    func once() async throws {
        let store = try await ledger()
        var requests: [ClaimRequest] = []
        for host in 0..<20 { requests.append(try await request(store, host: "h\(host)")) }
        let answers = try await withThrowingTaskGroup(of: ClaimAnswer.self) { group in
            for request in requests {
                group.addTask { try await self.ledger().claim(request) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let runs = answers.compactMap { if case .granted(_, let run, _) = $0 { run } else { nil } }
        let held = answers.compactMap { if case .held(let by) = $0 { by } else { nil } }
        #expect(runs.count == 1 && held.count == 19)
        #expect(Set(held.map(\.run)) == Set(runs.map(\.id)))
        #expect(held.allSatisfy { $0.expiresIn > .seconds(10) && $0.expiresIn <= Lease.duration })
        #expect(runs.first?.scope == .fleet && runs.first?.fence == 1 && runs.first?.status == .running)
    }

    @Test("what succeeded is done for every host, and for one that comes later; the number grows with the next commit")
    func done() async throws {
        let store = try await ledger()
        let first = try granted(await store.claim(request(store, host: "h1")))
        #expect(try await complete(store, first, .succeeded) == 0)
        let later = try await store.claim(request(store, host: "h2"))
        guard case .done(let run, let host, let result, 0, nil) = later else { throw PreparationFailed("\(later)") }
        #expect(run == first.run.id && host == "h1" && result.status == .succeeded && result.exitCode == 0)
        let next = try granted(await store.claim(request(store, host: "h2", commit: "b")))
        #expect(next.lease.fence == 2 && next.run.fence == 2)
        #expect(try await complete(store, next, .succeeded, commit: "b") == 0)
        let forced = try granted(await store.claim(request(store, host: "h3", isForced: true)))
        #expect(forced.lease.fence == 3)
    }

    @Test("a failure is taken over by those that waited and within its backoff, then tried again")
    func failure() async throws {
        let store = try await ledger()
        let first = try granted(await store.claim(request(store, host: "h1")))
        #expect(try await complete(store, first, .failed, retryIn: .seconds(60)) == 1)
        let waited = try await store.claim(
            request(store, host: "h2", ignoresBackoff: true, awaited: first.run.id))
        guard case .done(_, _, let result, 1, let retryIn?) = waited else { throw PreparationFailed("\(waited)") }
        #expect(result.status == .failed && retryIn > .seconds(50) && retryIn <= .seconds(60))
        guard case .done = try await store.claim(request(store, host: "h3")) else {
            throw PreparationFailed("tried again within the backoff")
        }
        let again = try granted(await store.claim(request(store, host: "h3", ignoresBackoff: true)))
        #expect(try await complete(store, again, .timedOut, retryIn: .zero) == 2)
        _ = try granted(await store.claim(request(store, host: "h1")))
    }

    @Test("a failure that is lenient, or the last that retries allow, is a result for all")
    func settled() async throws {
        let store = try await ledger()
        let first = try granted(await store.claim(request(store, host: "h1", retries: 0)))
        #expect(try await complete(store, first, .failed, retryIn: .zero) == 1)
        guard case .done = try await store.claim(request(store, host: "h2", retries: 0, ignoresBackoff: true)) else {
            throw PreparationFailed("tried again after its last retry")
        }
        guard case .done = try await store.claim(request(store, host: "h2", isLenient: true)) else {
            throw PreparationFailed("tried again though lenient")
        }
    }

    @Test("asking for the commit again makes it due on every host that took the failure over")
    func retry() async throws {
        let store = try await ledger()
        let first = try granted(await store.claim(request(store, host: "h1", retries: 0)))
        _ = try await complete(store, first, .failed)
        let own = try await store.begin(.sample(host: "h2"), firstRun: nil).deployment
        var draft = RunDraft.sample(parent: own.id, host: "h2")
        draft.scope = .fleet
        try await store.write([
            .adoptRun(draft, of: first.run.id, RunResult.sample(.failed, exitCode: 1).end),
            .completeDeployment(own.id, .sample(.failed, settled: true)),
            .completeDeployment(try first.run.owner(), .sample(.failed, settled: true)),
        ])
        let adopted = try #require(try await store.runs(deployment: own.id).first)
        #expect(
            adopted.isAdopted && adopted.adopted == first.run.id && adopted.status == .failed && adopted.scope == .fleet
        )
        try await store.makeDue(first.run.owner())
        #expect(try await store.deployment(own.id)?.settled == false)
        _ = try granted(await store.claim(request(store, host: "h2", retries: 0)))
    }

    @Test("a lease that has run out passes on: the run under it is interrupted, and its holder can write nothing more")
    func fencing() async throws {
        let store = try await ledger()
        let first = try granted(await store.claim(request(store, host: "h1")))
        #expect(try await store.renew(first.lease))
        try await expire()
        // Nobody has taken it yet: it is still the holder's.
        #expect(try await store.renew(first.lease))
        try await expire()
        let second = try granted(await store.claim(request(store, host: "h2")))
        #expect(second.lease.fence == 2)
        #expect(try await store.renew(first.lease) == false)
        #expect(try await complete(store, first, .succeeded) == nil)
        let old = try #require(try await store.run(first.run.id))
        #expect(old.status == .interrupted && old.errorMessage?.contains("h2 took over") == true)
        #expect(try await store.deployment(first.run.owner())?.status == .interrupted)
        #expect(try await complete(store, second, .succeeded) == 0)
        #expect(try await store.run(second.run.id)?.status == .succeeded)
    }

    @Test("a result, and a claim, whose answer was lost are found when they are asked for again")
    func repeated() async throws {
        let store = try await ledger()
        let asked = try await request(store, host: "h1")
        let first = try granted(await store.claim(asked))
        let same = try granted(await store.claim(asked))
        #expect(same.lease == first.lease && same.run.id == first.run.id)
        #expect(try await complete(store, first, .failed) == 1)
        #expect(try await complete(store, first, .failed) == 1)
    }

    @Test("a run that ended by a stop gives the lease up at once")
    func stopped() async throws {
        let store = try await ledger()
        let first = try granted(await store.claim(request(store, host: "h1")))
        _ = try await complete(store, first, .interrupted)
        let second = try granted(await store.claim(request(store, host: "h2")))
        #expect(second.lease.fence == 2)
    }

    @Test("the same hook of another commit waits too, another hook does not")
    func exclusion() async throws {
        let store = try await ledger()
        _ = try granted(await store.claim(request(store, host: "h1")))
        guard case .held(let by) = try await store.claim(request(store, host: "h2", commit: "b")) else {
            throw PreparationFailed("two commits at once")
        }
        #expect(by.host == "h1" && by.commit == "a")
        var post = try await request(store, host: "h2")
        post.run.name = "POST_DEPLOY"
        _ = try granted(await store.claim(post))
    }

    @Test("those that wait hear of the result at once")
    func notified() async throws {
        let store = try await ledger()
        var asked: [String] = []
        var least = Duration.seconds(1000)
        // The connection is closed after a tenth of a second, which a machine under load may take to ask.
        for commit in ["a", "b", "c", "d", "e"]
        where !asked.contains(PostgresLedger.listening) || least > .milliseconds(1500) {
            let first = try granted(await store.claim(request(store, host: "h1", commit: commit)))
            let waiting = try await ledger()
            let held = HeldBy(run: first.run.id, host: "h1", commit: commit, expiresIn: .seconds(20), hosts: 2)
            let changes = waiting.leaseChanges(app: "shop")
            // The first call begins to listen.
            await changes.next(after: held)
            let begin = ContinuousClock.now
            async let heard: Void = changes.next(after: held)
            _ = try await complete(store, first, .succeeded, commit: commit)
            await heard
            // Without being told it asks again after two seconds.
            least = min(least, ContinuousClock.now - begin)
            // What is asked next goes over the connection that listened: it is open already.
            asked.append(
                try await waiting.transaction { session in
                    try session.query("SELECT current_setting('application_name')").rows[0].get(0, as: String.self)
                })
        }
        #expect(asked.contains(PostgresLedger.listening) && least < .milliseconds(1500), "\(asked), \(least)")
    }

    @Test("agents show themselves: commit, last deployment, when they were seen; one that has another's name is told")
    func presence() async throws {
        let store = try await ledger()
        let scope = DeploymentDraft.sample(host: "h1").scope
        var presence = Presence(
            scope: scope, instance: "p1", version: "1", ref: "main", target: "b", outcome: "unchanged", problem: nil,
            interval: .seconds(30))
        #expect(try await store.note(presence) == nil)
        let deployment = try await store.begin(.sample(commit: "a", host: "h1"), firstRun: nil).deployment
        try await store.write([.completeDeployment(deployment.id, .sample(.succeeded))])
        presence.instance = "p2"
        presence.target = nil
        #expect(try await store.note(presence) == "p1")
        let held = try granted(await store.claim(request(store, host: "h1", commit: "b")))
        let fleet = try await store.fleet(app: "shop")
        let host = try #require(fleet.hosts.first)
        #expect(fleet.hosts.count == 1 && host.presence.scope == scope && host.presence.target == "b")
        #expect(host.commit == "a" && host.lastDeployment?.commit == "b" && host.unseenFor < .seconds(60))
        let lease = try #require(fleet.leases.first)
        #expect(lease.name == "PRE_DEPLOY" && lease.host == "h1" && lease.fence == 1 && lease.run == held.run.id)
        #expect(lease.remaining > .seconds(10))
    }
}

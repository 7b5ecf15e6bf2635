import Ledger
import LedgerPostgres
import TestSupport
import Testing

/// Moving what the hosts of a record share.
@Suite(.timeLimit(.minutes(1)))
struct CopyFleetTests {
    private func claim(_ store: PostgresLedger, host: String, commit: String = "a") async throws -> ClaimAnswer {
        let deployment = try await store.begin(.sample(commit: commit, host: host), firstRun: nil).deployment
        var draft = RunDraft.sample(parent: deployment.id, host: host)
        draft.scope = .fleet
        return try await store.claim(
            ClaimRequest(
                scope: deployment.scope, commit: commit, holder: "process of \(host)", run: draft, retries: 0,
                isLenient: false, ignoresBackoff: false, isForced: false))
    }

    private func copy(_ from: PostgresLedger, _ to: PostgresLedger) async throws {
        try await to.copy(from)
        try await to.insert(from.members())
        var last: Outcome.Key?
        while let hook = try await from.outcomes(after: last, limit: 1).first {
            try await to.insert([hook])
            last = hook.key
        }
    }

    @Test("a hook that ran for all hosts is not run again after the move, and its lease's number goes on")
    func outcomes() async throws {
        let from = try await StoreFactory.shared(schema: uniqueText())
        let to = try await StoreFactory.shared(schema: uniqueText())
        // So that no id is the same on both sides.
        for _ in 0..<3 { try await to.settle(.sample(app: "other")) }
        for commit in ["a", "b"] {
            guard case .granted(let lease, let run, _) = try await claim(from, host: "h1", commit: commit) else {
                throw PreparationFailed("not granted")
            }
            _ = try await from.complete(
                ClaimResult(lease: lease, commit: commit, run: run.id, result: .sample(.succeeded), retryIn: nil))
        }
        _ = try await from.note(
            Presence(
                scope: DeploymentDraft.sample(host: "h1").scope, instance: "i", version: "1", ref: "main", target: "b",
                outcome: "deployed", problem: nil, interval: .seconds(30)))
        for _ in 0..<2 {
            try await copy(from, to)
            guard case .done(let run, "h1", let result, 0, nil) = try await claim(to, host: "h2") else {
                throw PreparationFailed("it is run again")
            }
            #expect(result.status == .succeeded)
            #expect(try await to.run(run ?? 0)?.marker == from.run(1)?.marker)
            let agents = try await to.fleet(app: "shop").hosts
            #expect(agents.map(\.presence.instance) == ["i"] && agents[0].presence.target == "b")
        }
        guard case .granted(let lease, _, _) = try await claim(to, host: "h2", commit: "c") else {
            throw PreparationFailed("not granted")
        }
        #expect(lease.fence == 3)
    }

    @Test("a lease that is held here keeps its number, and its holder keeps it")
    func held() async throws {
        let from = try await StoreFactory.shared(schema: uniqueText())
        let to = try await StoreFactory.shared(schema: uniqueText())
        for _ in 0..<3 { try await from.insert(RecordMembers(fences: [fence(7)], agents: [])) }
        guard case .granted(let lease, _, _) = try await claim(to, host: "h1") else {
            throw PreparationFailed("not granted")
        }
        try await copy(from, to)
        #expect(try await to.renew(lease))
        try await to.insert(RecordMembers(fences: [fence(7)], agents: []))
        #expect(try await to.members().fences == [fence(1)])
        try await from.insert(RecordMembers(fences: [fence(2)], agents: []))
        #expect(try await from.members().fences == [fence(7)])
    }

    private func fence(_ number: Int64) -> RecordMembers.Fence {
        RecordMembers.Fence(app: "shop", name: "PRE_DEPLOY", number: number)
    }
}

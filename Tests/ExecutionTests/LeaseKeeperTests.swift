import Ledger
import Logging
import Shell
import TestSupport
import Testing

@testable import Execution

/// How a lease is kept while a run goes on under it, by a clock that the test moves.
@Suite(.timeLimit(.minutes(1)))
struct LeaseKeeperTests {
    private let clock = ManualClock()
    private let guardian = NotingGuard()
    private let stop = StopSignal()

    private func keeper(_ store: ScriptedLeases) -> LeaseKeeper {
        LeaseKeeper(
            Lease(app: "shop", name: "PRE_DEPLOY", fence: 7, holder: "p"), in: store, asked: clock.bootTime,
            guardian: guardian, stop: stop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            time: clock.leaseTime)
    }

    /// Lets so much time pass once the keeper waits for it.
    private func pass(_ time: Duration) async throws {
        #expect(await eventually { clock.sleepers == 1 })
        clock.advance(by: time)
    }

    /// Does something while a keeper keeps its lease.
    private func keeping(_ keeper: LeaseKeeper, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await keeper.keep() }
            defer { group.cancelAll() }
            try await body()
        }
    }

    @Test("it is renewed at every heartbeat, and the guard is told until when the run may go on")
    func renews() async throws {
        let store = ScriptedLeases()
        let keeper = keeper(store)
        try await keeping(keeper) {
            for number in 1...3 {
                try await pass(Lease.heartbeat)
                #expect(await eventually { guardian.deadlines.count == number })
            }
            let expected = (1...3).map {
                BootTime(nanoseconds: 0).advanced(by: Lease.heartbeat * $0 + LeaseKeeper.margin)
            }
            #expect(guardian.deadlines == expected && keeper.loss == nil)
            #expect(keeper.release() == nil && guardian.isReleased)
        }
    }

    @Test("one that has passed on ends the run at once")
    func passedOn() async throws {
        let keeper = keeper(ScriptedLeases(.init(renewals: [.success(false)])))
        try await keeping(keeper) {
            try await pass(Lease.heartbeat)
            #expect(await eventually { stop.isRequested })
            #expect(keeper.loss == .passedOn && keeper.release() == .passedOn)
        }
    }

    @Test("one that cannot be renewed ends the run while there is time to end its processes, and is tried until then")
    func away() async throws {
        let store = ScriptedLeases(.init(renewals: [.failure(ScriptedLeases.away)]))
        let keeper = keeper(store)
        try await keeping(keeper) {
            try await pass(Lease.heartbeat)
            while clock.now.offset < LeaseKeeper.margin {
                #expect(keeper.loss == nil && !stop.isRequested)
                try await pass(.seconds(1))
            }
            #expect(await eventually { stop.isRequested })
            #expect(keeper.loss == .expired && store.renewals >= 9)
            #expect(clock.now.offset + RunGuard.grace < Lease.duration)
        }
    }

    @Test("a guard that does not hear the renewal has begun to end the run, or is dead")
    func deaf() async throws {
        let keeper = keeper(ScriptedLeases())
        guardian.leave()
        try await keeping(keeper) {
            try await pass(Lease.heartbeat)
            #expect(await eventually { stop.isRequested })
            #expect(keeper.loss == .expired)
        }
    }

    @Test("a machine that slept past the deadline has lost it, whoever says so")
    func slept() throws {
        let keeper = keeper(ScriptedLeases())
        clock.advance(by: LeaseKeeper.margin)
        #expect(keeper.loss == .expired && keeper.release() == .expired)
    }

    @Test("once the run has ended it is renewed on for its result, and what fails then does not unmake the result")
    func released() async throws {
        let store = ScriptedLeases(
            .init(renewals: [.success(true), .failure(ScriptedLeases.away), .success(true), .success(false)]))
        let keeper = keeper(store)
        try await keeping(keeper) {
            try await pass(Lease.heartbeat)
            #expect(await eventually { guardian.deadlines.count == 1 })
            #expect(keeper.release() == nil)
            guardian.leave()
            try await pass(Lease.heartbeat)
            #expect(await eventually { store.renewals == 2 })
            // Longer than the run might have gone on without a renewal.
            try await pass(LeaseKeeper.margin * 2)
            #expect(await eventually { store.renewals == 3 })
            try await pass(Lease.heartbeat)
            #expect(await eventually { store.renewals == 4 })
            #expect(keeper.loss == nil && !stop.isRequested && guardian.deadlines.count == 1)
        }
    }
}

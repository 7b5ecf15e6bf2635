import Ledger
import TestSupport
import Testing

@testable import DeployAgent
@testable import Settings

/// How long the check loop waits, and what ends its wait.
@Suite(.timeLimit(.minutes(1)))
struct CheckLoopWaitTests {
    private let bell = TriggerBell()
    private let clock = ManualClock()

    @Test("a wait ends when its time has passed, not before")
    func time() async {
        async let rang = bell.wait(atMost: .seconds(30), clock: clock)
        #expect(await eventually { clock.sleepers == 1 })
        clock.advance(by: .seconds(29))
        #expect(clock.sleepers == 1)
        clock.advance(by: .seconds(1))
        #expect(await rang == nil)
    }

    @Test("a ring ends a wait that is under way and says what rang", arguments: [Trigger.signal, .webhook, .manual])
    func ring(trigger: Trigger) async {
        async let rang = bell.wait(atMost: .seconds(30), clock: clock)
        #expect(await eventually { clock.sleepers == 1 })
        bell.ring(trigger)
        #expect(await rang == trigger)
        #expect(clock.sleepers == 0)
    }

    @Test("rings while nobody waits are kept, as one")
    func kept() async {
        bell.ring(.signal)
        bell.ring(.signal)
        #expect(await bell.wait(atMost: .seconds(30), clock: clock) == .signal)
        async let second = bell.wait(atMost: .seconds(30), clock: clock)
        #expect(await eventually { clock.sleepers == 1 })
        clock.advance(by: .seconds(30))
        #expect(await second == nil)
    }

    @Test("closing the bell ends the wait that is under way")
    func closed() async {
        async let rang = bell.wait(atMost: .seconds(30), clock: clock)
        #expect(await eventually { clock.sleepers == 1 })
        bell.close()
        #expect(await rang == nil)
    }

    @Test("a wait that is over before it begins returns, every time")
    func noTime() async {
        for _ in 0..<1000 {
            #expect(await bell.wait(atMost: .zero, clock: clock) == nil)
            #expect(await bell.wait(atMost: .nanoseconds(1), clock: ContinuousClock()) == nil)
        }
    }

    @Test("after a deployment the next check comes at once")
    func deployment() {
        let deployment = Deployment.sample(.failed, startedAt: .now)
        #expect(CheckLoop.wait(after: .deployment(deployment), interval: .seconds(30)) == .zero)
    }

    @Test(
        "whatever else a check finds, the next one comes after the interval",
        arguments: [
            CheckOutcome.unchanged(commit: "c", .deployed), .unchanged(commit: "c", .settledAsFailed),
            .unreachable("x"), .ledgerFailed("x", isTransient: false), .failed("x"),
            .misconfigured(SettingsError("A", "x", source: .environment)),
            .unchanged(commit: "c", .backoff(until: Timestamp.now.advanced(by: .seconds(1000)))),
            .unchanged(commit: "c", .held(.stands)), .unchanged(commit: "c", .held(.failed("x"))),
            .unchanged(commit: "c", .held(.waits("x", until: nil))),
            .unchanged(commit: "c", .held(.waits("x", until: Timestamp.now.advanced(by: .seconds(1000))))),
        ])
    func interval(outcome: CheckOutcome) {
        let wait = CheckLoop.wait(after: outcome, interval: .seconds(30))
        #expect(wait >= .seconds(27) && wait <= .seconds(33))
    }

    @Test("after a rollback that was not made, what is due is looked at soon")
    func notRolledBack() {
        let wait = CheckLoop.wait(after: .notRolledBack(.failed("x")), interval: .seconds(30))
        #expect(wait == .seconds(2))
    }

    @Test("a retry that is due already comes soon, but not in a loop without pause")
    func pastBackoff() {
        let until = Timestamp.now.advanced(by: .seconds(-5))
        for detail in [CheckOutcome.Detail.backoff(until: until), .held(.waits("x", until: until))] {
            let wait = CheckLoop.wait(after: .unchanged(commit: "c", detail), interval: .seconds(30))
            #expect(wait > .zero && wait <= .seconds(1))
        }
    }
}

import Execution
import Ledger
import Testing

@testable import DeployAgent

/// A deployment in which only what bears on the decision is set.
private func deployment(
    _ commit: String, _ status: DeploymentStatus, settled: Bool = true, published: Bool = true, attempt: Int = 1,
    retryAt: Int64? = nil, completedAt: Int64? = nil, id: Int64 = 1, held: String? = nil,
    trigger: Trigger = .poll
) -> Deployment {
    .sample(
        id: id, commit: commit, trigger: trigger, attempt: attempt, status, settled: settled, published: published,
        retryAt: retryAt.map(Timestamp.init(milliseconds:)),
        completedAt: completedAt.map(Timestamp.init(milliseconds:)), held: held)
}

@Suite struct DecisionTests {
    private let now = Timestamp(milliseconds: 1_000_000)

    private func decide(
        _ commit: String, latest: Deployment? = nil, settled: Deployment? = nil, brought: Deployment? = nil,
        own: Deployment? = nil,
        trigger: Trigger = .poll, forced: Bool = false, bootstrap: Bool = false, missing: Bool = false
    ) -> Decision {
        Decision.decide(
            LedgerFacts(latest: latest, lastSettled: settled, lastBrought: brought ?? settled, latestOfCommit: own),
            Decision.Situation(
                commit: commit, trigger: trigger, isForced: forced, isBootstrap: bootstrap, isWorkspaceMissing: missing,
                now: now))
    }

    @Test("a commit that was never deployed is due")
    func new() {
        #expect(decide("b") == .deploy(attempt: 1, series: nil))
        let a = deployment("a", .succeeded)
        #expect(decide("b", latest: a, settled: a) == .deploy(attempt: 1, series: nil))
    }

    @Test("a deployed commit is not due again, unless forced or its workspace is gone")
    func deployed() {
        let a = deployment("a", .succeeded)
        #expect(decide("a", latest: a, settled: a, own: a) == .nothing(.deployed))
        #expect(decide("a", latest: a, settled: a, own: a, forced: true) == .deploy(attempt: 1, series: nil))
        #expect(decide("a", latest: a, settled: a, own: a, missing: true) == .deploy(attempt: 1, series: nil))
    }

    @Test("a commit that was rolled back from is held, whatever looks, until a person forces it or another one comes")
    func held() {
        let bad = deployment("b", .succeeded)
        let back = deployment("a", .succeeded, id: 2, held: "b")
        for trigger in [Trigger.poll, .startup, .manual, .signal, .webhook] {
            #expect(decide("b", latest: back, settled: back, own: bad, trigger: trigger) == .nothing(.held))
        }
        #expect(decide("b", latest: back, settled: back, own: bad, missing: true) == .nothing(.held))
        #expect(decide("b", latest: back, settled: back, own: bad, forced: true, bootstrap: true) == .nothing(.held))
        #expect(
            decide("b", latest: back, settled: back, own: bad, forced: true) == .deploy(attempt: 1, series: nil))
        #expect(decide("c", latest: back, settled: back) == .deploy(attempt: 1, series: nil))
        // Deployed again without publishing, as an offline start does.
        let again = deployment("a", .succeeded, published: false, id: 3, held: "b")
        #expect(decide("b", latest: again, settled: again, own: bad) == .nothing(.held))
        let after = deployment("c", .succeeded, id: 3)
        #expect(decide("b", latest: after, settled: after, own: bad) == .deploy(attempt: 1, series: nil))
    }

    @Test("what was gone back to is published again where it was broken off, at once or when its time has come")
    func goesOn() {
        func decide(
            _ back: Deployment, tried: Deployment? = nil, _ trigger: Trigger = .poll, missing: Bool = false,
            bootstrap: Bool = false
        ) -> Decision {
            Decision.goBack(
                back, tried: tried,
                Decision.Situation(
                    commit: "b", trigger: trigger, isForced: bootstrap, isBootstrap: bootstrap,
                    isWorkspaceMissing: missing, now: now))
        }
        let later = now.milliseconds + 1000
        for status in [DeploymentStatus.succeeded, .failed, .deferred] {
            #expect(decide(deployment("a", status)) == .nothing(.held))
            #expect(decide(deployment("a", status), missing: true) == .deploy(attempt: 1, series: nil))
            #expect(decide(deployment("a", status), bootstrap: true) == .deploy(attempt: 1, series: nil))
        }
        let broken = deployment("a", .interrupted, settled: false, attempt: 2)
        #expect(decide(broken) == .deploy(attempt: 3, series: 1))
        let waiting = deployment("a", .failed, settled: false, retryAt: later)
        #expect(decide(waiting) == .nothing(.backoff(until: Timestamp(milliseconds: later))))
        #expect(decide(waiting, .signal) == .deploy(attempt: 2, series: 1))
        // Tried since, without coming to anything.
        let back = deployment("a", .succeeded)
        for (attempt, held) in [back, broken].enumerated() {
            let tried = deployment(
                "a", .failed, settled: false, published: false, attempt: 4 + attempt, retryAt: later, id: 2)
            #expect(
                decide(held, tried: tried, missing: true) == .nothing(.backoff(until: Timestamp(milliseconds: later))))
            #expect(decide(held, tried: tried, .manual, missing: true) == .deploy(attempt: 5 + attempt, series: 1))
            #expect(decide(held, tried: tried, .startup, bootstrap: true) == .deploy(attempt: 5 + attempt, series: 1))
        }
        let deferred = deployment(
            "a", .deferred, settled: false, published: false, retryAt: later, completedAt: now.milliseconds, id: 2)
        #expect(decide(back, tried: deferred, missing: true) == .nothing(.deferred))
        let settled = deployment("a", .failed, published: false, id: 2)
        #expect(decide(back, tried: settled, missing: true) == .nothing(.settledAsFailed))
        #expect(decide(back, tried: settled, .startup, bootstrap: true) == .deploy(attempt: 2, series: 1))
        // A start that always deploys goes on until it is done, the workspace there or not.
        #expect(decide(back, tried: deferred) == .nothing(.deferred))
        // Somebody has put it there meanwhile.
        #expect(decide(back, tried: settled) == .nothing(.held))
    }

    @Test("what has failed for good is not tried again because of a rollback that came later")
    func failedAboveRollback() {
        let failed = deployment("c", .failed, published: false, id: 3)
        let back = deployment("a", .succeeded, id: 4, held: "b", trigger: .rollback)
        #expect(decide("c", latest: back, settled: back, brought: failed, own: failed) == .nothing(.settledAsFailed))
        let good = deployment("c", .succeeded, id: 3)
        #expect(decide("c", latest: back, settled: back, brought: good, own: good) == .deploy(attempt: 1, series: nil))
        // Also where one that came to nothing is the newest.
        let next = deployment("d", .failed, settled: false, published: false, id: 6)
        #expect(decide("c", latest: next, settled: back, brought: good, own: good) == .deploy(attempt: 1, series: nil))
        // The ref has moved meanwhile, and came back.
        let between = deployment("d", .succeeded, id: 5)
        #expect(decide("c", latest: between, settled: between, own: failed) == .deploy(attempt: 1, series: nil))
    }

    @Test("going back to an older commit deploys it again")
    func older() {
        let (a, b) = (deployment("a", .succeeded), deployment("b", .succeeded, id: 2))
        #expect(decide("a", latest: b, settled: b, own: a) == .deploy(attempt: 1, series: nil))
    }

    @Test(
        "going back from a commit that is being retried deploys only if that one may have moved the workspace",
        arguments: [(false, DeploymentStatus.failed, false), (true, .failed, true), (false, .interrupted, true)])
    func backFromFailed(published: Bool, status: DeploymentStatus, isDue: Bool) {
        let a = deployment("a", .succeeded)
        let b = deployment("b", status, settled: false, published: published, id: 2)
        #expect(
            decide("a", latest: b, settled: a, own: a)
                == (isDue ? .deploy(attempt: 1, series: nil) : .nothing(.deployed)))
    }

    @Test(
        "a failed commit waits for its backoff at a poll, not at a person's or a signal's check",
        arguments: [(Trigger.poll, false), (.startup, false), (.manual, true), (.signal, true), (.webhook, true)])
    func backoff(trigger: Trigger, isDue: Bool) {
        let own = deployment("a", .failed, settled: false, attempt: 2, retryAt: 1_000_500)
        let expected: Decision =
            isDue
            ? .deploy(attempt: 3, series: 1) : .nothing(.backoff(until: Timestamp(milliseconds: 1_000_500)))
        #expect(decide("a", latest: own, own: own, trigger: trigger) == expected)
    }

    @Test(
        "a backoff that has passed, or was written before the clock was set back, holds nobody up",
        arguments: [999_999, 1_000_000, 1_601_000] as [Int64])
    func backoffOver(retryAt: Int64) {
        let own = deployment("a", .failed, settled: false, retryAt: retryAt)
        #expect(decide("a", latest: own, own: own) == .deploy(attempt: 2, series: 1))
    }

    @Test(
        "a deferred commit waits for the next regular check, however long the interval is",
        arguments: [(Trigger.poll, 4_000_000, 900_000), (.poll, 1_000_001, 999_000)] as [(Trigger, Int64, Int64)])
    func deferred(trigger: Trigger, retryAt: Int64, completedAt: Int64) {
        let own = deployment("a", .deferred, settled: false, retryAt: retryAt, completedAt: completedAt)
        #expect(decide("a", latest: own, own: own) == .nothing(.deferred))
        #expect(decide("a", latest: own, own: own, trigger: .manual) == .deploy(attempt: 2, series: 1))
    }

    @Test("a deferred commit whose time has come, or was written before the clock was set back, is due")
    func deferredOver() {
        for (retryAt, completedAt) in [(999_999, 900_000), (4_000_000, 1_100_000)] as [(Int64, Int64)] {
            let own = deployment("a", .deferred, settled: false, retryAt: retryAt, completedAt: completedAt)
            #expect(decide("a", latest: own, own: own) == .deploy(attempt: 2, series: 1))
        }
    }

    @Test("an interrupted commit is due and its series goes on")
    func unsettled() {
        let own = deployment("a", .interrupted, settled: false, attempt: 4)
        #expect(decide("a", latest: own, own: own, trigger: .startup) == .deploy(attempt: 5, series: 1))
    }

    @Test("a commit whose retries are used up waits, unless forced")
    func usedUp() {
        let own = deployment("a", .failed, attempt: 3)
        #expect(decide("a", latest: own, settled: own, own: own, trigger: .manual) == .nothing(.settledAsFailed))
        #expect(decide("a", latest: own, settled: own, own: own, forced: true) == .deploy(attempt: 4, series: 1))
    }

    @Test(
        "the backoff doubles from the interval on, up to ten minutes",
        arguments: [
            (1, 30, 30), (2, 30, 60), (3, 30, 120), (5, 30, 480), (6, 30, 600), (1000, 30, 600), (1, 3600, 600),
            (0, 30, 30),
        ])
    func backoffDelay(failures: Int, interval: Int, seconds: Int) {
        #expect(Backoff.delay(afterFailures: failures, interval: .seconds(interval)) == .seconds(seconds))
    }

    @Test(
        "a new commit is due whatever became of another",
        arguments: [(DeploymentStatus.failed, true), (.failed, false), (.deferred, false), (.running, false)])
    func newAfter(status: DeploymentStatus, settled: Bool) {
        let b = deployment("b", status, settled: settled, published: false, retryAt: 1_000_500, id: 2)
        #expect(decide("a", latest: b, settled: settled ? b : nil) == .deploy(attempt: 1, series: nil))
    }

    @Test(
        "what is deployed is not due for a person or a signal either", arguments: [Trigger.manual, .signal, .webhook])
    func deployedAsked(trigger: Trigger) {
        let a = deployment("a", .succeeded)
        #expect(decide("a", latest: a, settled: a, own: a, trigger: trigger) == .nothing(.deployed))
    }

    @Test("force ignores the backoff, and the series goes on")
    func forcedBackoff() {
        let own = deployment("a", .failed, settled: false, attempt: 2, retryAt: 1_000_500)
        #expect(decide("a", latest: own, own: own, forced: true) == .deploy(attempt: 3, series: 1))
    }

    @Test(
        "one that was made due, or is recorded as running though nobody runs it, is due",
        arguments: [DeploymentStatus.failed, .running])
    func withoutTime(status: DeploymentStatus) {
        let own = deployment("a", status, settled: false)
        #expect(decide("a", latest: own, own: own) == .deploy(attempt: 2, series: 1))
    }

    @Test("a commit whose retries are used up is due again once another was settled or may have moved the workspace")
    func usedUpThenAnother() {
        let own = deployment("a", .failed, published: false)
        let settled = deployment("b", .succeeded, id: 2)
        #expect(decide("a", latest: settled, settled: settled, own: own) == .deploy(attempt: 1, series: nil))
        let moved = deployment("b", .failed, settled: false, id: 2)
        #expect(decide("a", latest: moved, settled: own, own: own) == .deploy(attempt: 1, series: nil))
        let waiting = deployment("b", .failed, settled: false, published: false, id: 2)
        #expect(decide("a", latest: waiting, settled: own, own: own) == .nothing(.settledAsFailed))
    }

    @Test("going back past one that is recorded as running deploys, past one that was deferred does not")
    func backFromUnfinished() {
        let a = deployment("a", .succeeded)
        let running = deployment("b", .running, settled: false, published: false, id: 2)
        #expect(decide("a", latest: running, settled: a, own: a) == .deploy(attempt: 1, series: nil))
        let deferred = deployment("b", .deferred, settled: false, published: false, id: 2)
        #expect(decide("a", latest: deferred, settled: a, own: a) == .nothing(.deployed))
    }
}

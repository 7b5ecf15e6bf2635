import Ledger
import Testing

@testable import DeployAgent

@Suite struct VitalsTests {
    private let vitals = Vitals()

    private func deployment(
        _ status: DeploymentStatus, completedAt: Int64 = 5, trigger: Trigger = .poll, published: Bool = true
    ) -> Deployment {
        .sample(trigger: trigger, status, published: published, completedAt: Timestamp(milliseconds: completedAt))
    }

    @Test("a deployment may take as long as its own commit's timeouts allow, and nothing counts as stale meanwhile")
    func deploying() {
        vitals.checked(.unchanged(commit: "c", .deployed), isOffline: false, staleAfter: .zero)
        let later = Timestamp.now.advanced(by: .seconds(3600))
        #expect(vitals.snapshot.isStale(at: later))
        vitals.deploying(quietFor: .seconds(7200))
        #expect(!vitals.snapshot.isStale(at: later))
        #expect(vitals.snapshot.aliveUntil > .now + .seconds(7000))
        vitals.checked(.deployment(deployment(.succeeded)), isOffline: false, staleAfter: .zero)
        #expect(vitals.snapshot.isStale(at: later))
    }

    @Test("a check that did not ask the remote is none that succeeded")
    func offline() {
        vitals.checked(.unchanged(commit: "c", .deployed), isOffline: true, staleAfter: .zero)
        #expect(vitals.snapshot.lastSuccessfulCheck == nil && vitals.snapshot.readiness == .ready)
    }

    @Test("a commit is held and all is well, unless what was gone back to does not stand")
    func held() {
        vitals.checked(.unchanged(commit: "c", .held(.stands)), isOffline: false, staleAfter: .zero)
        #expect(vitals.snapshot.readiness == .ready)
        for back in [CheckOutcome.Back.failed("exit code 1"), .waits("exit code 1", until: nil)] {
            vitals.checked(.unchanged(commit: "c", .held(back)), isOffline: false, staleAfter: .zero)
            guard case .failed(let reason) = vitals.snapshot.readiness else {
                Issue.record("\(back) is ready")
                continue
            }
            #expect(reason.contains("exit code 1") && vitals.snapshot.lastSuccessfulCheck != nil)
        }
        // What somebody asked for in vain changes nothing.
        let before = vitals.snapshot.readiness
        vitals.checked(.notRolledBack(.unreachable("x", .permanent)), isOffline: false, staleAfter: .zero)
        #expect(vitals.snapshot.readiness == before && vitals.snapshot.lastError == nil)
    }

    @Test("a rollback that came to nothing counts, and leaves the commit as it is")
    func cameToNothing() {
        vitals.deployed(deployment(.failed, trigger: .rollback, published: false), [])
        #expect(vitals.snapshot.commit == nil && vitals.snapshot.deployments == [.failed: 1])
        vitals.deployed(deployment(.failed, trigger: .rollback), [])
        #expect(vitals.snapshot.commit == "c")
    }

    @Test("a clock that was set back makes no duration negative")
    func clockSetBack() {
        var run = Run(
            id: 1,
            draft: RunDraft(
                kind: .hook, name: "PRE_DEPLOY", parent: .deployment(1),
                place: Scope(app: "a", host: "h", workspace: "/w"), marker: "m", command: "c", folder: ".",
                mode: "strict", timeout: .seconds(1), attempt: 1, startedAt: Timestamp(milliseconds: 5000)),
            end: RunEnd(status: .succeeded, completedAt: Timestamp(milliseconds: 4000)))
        #expect(run.duration == .zero)
        vitals.deployed(deployment(.succeeded), [run])
        #expect(vitals.snapshot.durations["PRE_DEPLOY"]?.sum == 0)
        run.end?.completedAt = Timestamp(milliseconds: 7000)
        #expect(run.duration == .seconds(2))
        #expect(
            Deployment.sample(
                .failed, startedAt: Timestamp(milliseconds: 5000), completedAt: Timestamp(milliseconds: 1)
            ).duration == .zero)
    }

    @Test("a restart forgets neither the last success nor a hook that did not run since")
    func recall() {
        let run = Run(
            id: 1,
            draft: RunDraft(
                kind: .hook, name: "POST_DEPLOY", parent: .deployment(1),
                place: Scope(app: "a", host: "h", workspace: "/w"), marker: "m", command: "c", folder: ".",
                mode: "lenient", timeout: .seconds(1), attempt: 1, startedAt: Timestamp(milliseconds: 0)),
            end: RunEnd(status: .failed, exitCode: 1, completedAt: Timestamp(milliseconds: 1)))
        vitals.recall(deployment(.failed), lastSucceeded: deployment(.succeeded, completedAt: 3), [run])
        #expect(vitals.snapshot.lastSucceededDeployment == Timestamp(milliseconds: 3))
        #expect(vitals.snapshot.lastRuns == ["POST_DEPLOY": .failed])
    }
}

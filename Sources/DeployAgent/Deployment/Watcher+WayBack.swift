import Git
import Ledger
import Logging
import Shell

/// The way back: what a person asked for, what follows a failure by itself, and what a workspace lacks whose commit is held.
extension Watcher {
    /// Publishes again what was gone back to, where the workspace lacks it.
    ///
    /// - Parameter back: the deployment that holds the commit that would be due.
    func stayBack(
        _ back: Deployment, _ situation: Decision.Situation, _ deploying: (Settings) -> Void,
        _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws -> CheckOutcome {
        let tried = triedBack.flatMap { $0.commit == back.commit && $0.id > back.id ? $0 : nil }
        switch Decision.goBack(back, tried: tried, situation) {
        case .nothing(let reason):
            let last = reason == .held ? back : tried ?? back
            let failure = last.status == .succeeded ? nil : last.errorMessage ?? last.status.rawValue
            if case .backoff(let until) = reason {
                return .unchanged(commit: situation.commit, .held(failure: failure, retryAt: until))
            }
            return .unchanged(commit: situation.commit, .held(failure: failure))
        case .deploy(let attempt, let series):
            // A new container needs all that the commit needs; what was broken off goes on as it was wanted.
            var withPre = situation.isBootstrap || situation.isWorkspaceMissing
            if !withPre {
                withPre = try await ledger.runs(deployment: back.id).contains {
                    $0.kind == .hook && $0.name == Hook.preDeploy.rawValue
                }
            }
            let outcome = try await rollBack(
                RollbackRequest(commit: back.commit, held: situation.commit, withPre: withPre, untilDone: true),
                attempt: attempt, series: series, isPoll: situation.trigger == .poll, deploying, waiting)
            if case .deployment(let deployment) = outcome { triedBack = deployment.published ? nil : deployment }
            return outcome
        }
    }

    /// Publishes a commit that was deployed before.
    private func rollBack(
        _ request: RollbackRequest, attempt: Int = 1, series: Int64? = nil, isPoll: Bool = false,
        _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws -> CheckOutcome {
        try await recoverOnce(watched.ofCheckout)
        let place = try await workspace.state()
        try await watched.refresh(place)
        let remote = try watched.ofCheckout.remoteToPublishFrom()
        let target = Target(
            request.commit, ref: watched.ofCheckout.followedRef ?? followedRef,
            try await followed.earlier(
                request.commit, of: remote, watched.ofCheckout, workspace: workspace, isPoll: isPoll))
        let refused = try await watched.refusal(of: target.commit, in: target.repository, target.source?.git)
        let settings = refused == nil ? try await watched.of(target.commit, in: target.repository) : watched.ofCheckout
        // What the commit that is gone back to says of itself is not what the next check goes by.
        watched.forget()
        try checkPlace(settings, target)
        try await useLedger(of: settings)
        let scope = Scope(app: settings.app, host: settings.host, workspace: workspace.path)
        let facts = try await ledger.facts(scope, commit: target.commit)
        if let latest = facts.latest, latest.trigger == Trigger.rollback.rawValue, latest.commit == request.commit,
            latest.startedAt.milliseconds >= request.time, latest.status != .interrupted, latest.status != .running
        {
            // It was carried out before the one who did it was killed.
            return .deployment(latest)
        }
        if let refused {
            return .deployment(
                try await record(
                    refused, target, settings, scope, facts, .rollback, attempt: attempt, series: series))
        }
        var request = request
        if request.held == nil {
            // What is live by now: a deployment may have ended since somebody asked. Further back, what was rolled back from
            // first is what the ref points to.
            request.held = facts.latest?.held ?? place.head ?? facts.latest?.commit
            if request.held == request.commit { request.held = nil }
        }
        logger.notice(
            "rolling back to \(request.commit.prefix(7))\(request.held.map { " from \($0.prefix(7))" } ?? "")")
        return .deployment(
            try await deploy(
                target, settings, scope, facts, .rollback, attempt: attempt, series: series, isPoll: isPoll,
                back: request, deploying, waiting))
    }

    /// Goes the way back that was noted.
    func goBack(_ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void) async {
        guard !stop.isRequested, let request = RollbackRequest.read(folder) else { return }
        let outcome = await carryOut(request, deploying, waiting)
        if case .deployment(let deployment) = outcome { wentBack = deployment }
        if let problem = outcome.problem { logger.error("the rollback failed: \(log.secrets.mask(problem))") }
    }

    func carryOut(
        _ request: RollbackRequest, _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async -> CheckOutcome {
        let outcome = await look { try await rollBack(request, deploying, waiting) }
        // One that was broken off is carried out by whoever comes next. Nobody is there to ask again for one that follows a
        // failure by itself: it waits for what is away.
        if outcome.wasBrokenOff || request.followsFailure == true && outcome.isRemoteAway { return outcome }
        request.remove(folder)
        return outcome
    }
}

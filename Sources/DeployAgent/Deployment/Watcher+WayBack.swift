import Git
import Ledger
import Log
import Logging
import Settings
import Shell

/// The way back: what a person asked for, what follows a failure by itself, and what a workspace lacks whose commit is held.
extension Watcher {
    /// Publishes again what was gone back to, where the workspace lacks it.
    ///
    /// - Parameter back: the deployment that holds the commit that would be due.
    func stayBack(
        _ back: Deployment, _ situation: Decision.Situation, _ scope: Scope, isPoll: Bool,
        _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws -> CheckOutcome {
        let tried = try await newest(scope).flatMap {
            $0.cameToNothing && $0.commit == back.commit && $0.id > back.id ? $0 : nil
        }
        let last = tried ?? back
        switch Decision.goBack(back, tried: tried, situation) {
        case .nothing(let reason):
            let stands: CheckOutcome.Back =
                switch reason {
                case .backoff(let until): .waits(last.failure, until: until)
                case .deferred: .waits(last.failure, until: nil)
                // What has come to nothing since does not count where the workspace has what it should.
                case .held where back.status == .succeeded: .stands
                case .held: .failed(back.failure)
                default:
                    .failed("\(last.failure); `agent retry \(back.commit.prefix(7))` tries again")
                }
            return .unchanged(commit: situation.commit, .held(stands))
        case .deploy(let attempt, let series):
            // A new container needs all that the commit needs; what was broken off goes on as it was wanted.
            let wantsPre = last.withPre || last.trigger != .rollback
            return try await rollBack(
                RollbackRequest(
                    commit: back.commit, held: situation.commit,
                    withPre: wantsPre || situation.isBootstrap || situation.isWorkspaceMissing, staysBack: true),
                attempt: attempt, series: series, isPoll: isPoll, deploying, waiting)
        }
    }

    private func newest(_ scope: Scope) async throws -> Deployment? {
        try await ledger.history(.newest(scope)).first
    }

    /// Publishes a commit that was deployed before.
    private func rollBack(
        _ request: RollbackRequest, attempt: Int = 1, series: Int64? = nil, isPoll: Bool = false,
        _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async throws -> CheckOutcome {
        try await recoverOnce(watched.ofCheckout)
        let place = try await readPlace()
        try SettingsError.expectOwn(workspace, place, watched.ofCheckout)
        try await watched.refresh(place)
        let remote = try watched.ofCheckout.remoteToPublishFrom()
        var target = Target(
            request.commit, ref: nil,
            try await followed.earlier(
                request.commit, of: remote, watched.ofCheckout, workspace: workspace, isPoll: isPoll))
        let refused = try await watched.refusal(of: target.commit, in: target.repository, target.source?.git)
        var settings = refused == nil ? try await watched.of(target.commit, in: target.repository) : watched.ofCheckout
        // Whoever goes back in haste may have forgotten how the agent publishes: that stays as it is.
        if place.head != nil { settings.publish.mode = workspace.isLink ? .symlink : .inPlace }
        // What the commit that is gone back to says of itself is not what the next check goes by.
        watched.forget()
        try checkPlace(settings, target)
        try await useLedger(of: settings)
        let scope = Scope(app: settings.app, host: settings.host, workspace: workspace.path)
        let facts = try await ledger.facts(scope, commit: target.commit)
        target.ref = watched.ofCheckout.followedName(found: followedRef ?? facts.latest?.ref)
        if let refused {
            return .deployment(
                try await record(
                    refused, target, settings, scope, facts, .rollback, attempt: attempt, series: series,
                    withPre: request.withPre))
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

    /// Goes the way back that was noted. What a person asked for meanwhile goes first, in the next check.
    func goBack(
        isPoll: Bool, _ deploying: (Settings) -> Void, _ waiting: @escaping @Sendable (Duration) -> Void
    ) async {
        guard !stop.isRequested, let request = RollbackRequest.read(folder), !request.isAsked else { return }
        let outcome = await look { try await rollBack(request, isPoll: isPoll, deploying, waiting) }
        if !waits(request, outcome) { request.remove(folder) }
        if case .deployment(let deployment) = outcome { wentBack = deployment }
        if let problem = outcome.problem { logger.error("the rollback failed: \(log.secrets.mask(problem))") }
    }

    /// Carries a rollback out that is to come before anything else.
    ///
    /// - Parameter decide: looks at what is due, where the rollback was carried out before, or waits.
    func carryOut(
        _ request: RollbackRequest, isPoll: Bool, _ deploying: (Settings) -> Void,
        _ waiting: @escaping @Sendable (Duration) -> Void,
        orElse decide: (PendingRollback?) async throws -> CheckOutcome
    ) async -> CheckOutcome {
        var isCarriedOut = false
        let outcome = await look {
            isCarriedOut = try await self.isCarriedOut(request)
            if isCarriedOut {
                request.remove(folder)
                if request.isAsked { RollbackRequest.removeWayBack(folder) }
                return try await decide(nil)
            }
            return try await rollBack(request, isPoll: isPoll && !request.isAsked, deploying, waiting)
        }
        if isCarriedOut { return outcome }
        guard waits(request, outcome) else {
            request.remove(folder)
            guard case .deployment(let deployment) = outcome else {
                return request.isAsked ? .notRolledBack(outcome) : outcome
            }
            // Where what somebody asked for was made, nothing follows the failure before it any more.
            if request.isAsked, deployment.published { RollbackRequest.removeWayBack(folder) }
            return outcome
        }
        guard outcome.isRemoteAway, let held = request.held else { return outcome }
        // A newer commit does not wait for it, and where it is published there is no need to go back any more; where it fails
        // then, another request has come.
        let next = await look { try await decide(PendingRollback(held: held, outcome: outcome)) }
        if case .deployment(let deployment) = next, deployment.published { request.remove(folder) }
        return next
    }

    /// Whether the one who carried it out was killed before the request was removed.
    private func isCarriedOut(_ request: RollbackRequest) async throws -> Bool {
        try await recoverOnce(watched.ofCheckout)
        guard let newest = try await newest(ownPresence.scope) else { return false }
        guard newest.trigger == .rollback, newest.commit == request.commit,
            newest.withPre || !request.withPre
        else { return false }
        switch newest.status {
        case .interrupted, .running: return false
        // Somebody else may have asked for the same, and it was under way already.
        case .succeeded: return (newest.completedAt ?? newest.startedAt).milliseconds >= request.time
        default: return newest.startedAt.milliseconds >= request.time
        }
    }

    /// Whether the request stays: one that was broken off is carried out by whoever comes next. Nobody is there to ask again
    /// for one that follows a failure by itself: it waits for what is away.
    private func waits(_ request: RollbackRequest, _ outcome: CheckOutcome) -> Bool {
        outcome.wasBrokenOff || request.followsFailure == true && outcome.isRemoteAway
    }
}

/// A rollback that follows a failure by itself and waits for a remote that is away.
struct PendingRollback {
    /// The commit that failed.
    let held: String
    let outcome: CheckOutcome
}

extension Deployment {
    /// What is wrong with one that did not succeed.
    fileprivate var failure: String { errorMessage ?? status.rawValue }
}

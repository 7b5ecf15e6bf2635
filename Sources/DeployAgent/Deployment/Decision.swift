import Execution
import Ledger

/// Whether a commit is deployed now. Pure: facts of the record and a clock in, an answer out.
enum Decision: Equatable, Sendable {
    /// It is due.
    /// - attempt: 1 for the first deployment of a series on this commit.
    /// - series: the series that it goes on with; nil when it starts one.
    case deploy(attempt: Int, series: Int64?)
    case nothing(Reason)

    enum Reason: Equatable, Sendable {
        /// The last deployment of this commit succeeded and nothing came after it.
        case deployed
        /// Its retries are used up.
        case settledAsFailed
        /// It failed and is tried again, but not before this time.
        case backoff(until: Timestamp)
        /// It was deferred and is tried again at the next regular check.
        case deferred
        /// It was rolled back from, and the ref has not moved on.
        case held
    }

    /// What else bears on it.
    struct Situation {
        var commit: String
        var trigger: Trigger
        /// `--force`: deploy although the commit is settled.
        var isForced = false
        /// Every start deploys its commit anew; that alone lets no held one go.
        var isBootstrap = false
        /// The workspace has no checkout at all, though a remote is followed: what the record says was deployed is gone.
        var isWorkspaceMissing = false
        var now: Timestamp
    }

    static func decide(_ facts: LedgerFacts, _ situation: Situation) -> Decision {
        // What was gone back to may have been deployed again since, offline say: then it still holds what it came from.
        let isHeld = facts.latest?.held == situation.commit
        if isHeld, !situation.isForced || situation.isBootstrap { return .nothing(.held) }
        guard let own = facts.latestOfCommit else { return .deploy(attempt: 1, series: nil) }
        if !own.settled { return next(after: own, situation) }
        if situation.isForced {
            return own.status == .succeeded
                ? .deploy(attempt: 1, series: nil) : .deploy(attempt: own.attempt + 1, series: own.series)
        }
        // Another commit was settled since, or its deployment moved the workspace or may have: this one is deployed again.
        // A rollback is no reason to try again what has failed before it.
        let other = own.status == .failed ? facts.lastBrought : facts.lastSettled
        if let other, other.commit != situation.commit, other.id > own.id {
            return .deploy(attempt: 1, series: nil)
        }
        let isBack = own.status == .failed && facts.latest?.trigger == .rollback
        if let latest = facts.latest, latest.commit != situation.commit, !isBack,
            latest.published || latest.status == .interrupted || latest.status == .running
        {
            return .deploy(attempt: 1, series: nil)
        }
        if own.status == .succeeded {
            return situation.isWorkspaceMissing ? .deploy(attempt: 1, series: nil) : .nothing(.deployed)
        }
        return .nothing(.settledAsFailed)
    }

    /// Whether what was gone back to is published again, while the commit that is due is held.
    ///
    /// - Parameters:
    ///   - back: the deployment that holds.
    ///   - tried: the last attempt at that since, which has come to nothing; nil when there is none.
    static func goBack(_ back: Deployment, tried: Deployment?, _ situation: Situation) -> Decision {
        let isAnew = situation.isBootstrap || situation.isWorkspaceMissing
        let last = tried ?? back
        // One that was broken off, or could not publish, has left the workspace between two commits.
        if !last.settled { return next(after: last, situation) }
        if let tried, situation.isBootstrap { return .deploy(attempt: tried.attempt + 1, series: tried.series) }
        guard isAnew else { return .nothing(.held) }
        return tried == nil ? .deploy(attempt: 1, series: nil) : .nothing(.settledAsFailed)
    }

    /// The next attempt of a series that is not settled, when its time has come.
    private static func next(after last: Deployment, _ situation: Situation) -> Decision {
        // A time further away than any backoff, or than when it was written: the clock was set back since.
        if situation.trigger.respectsBackoff, !situation.isForced, let retryAt = last.retryAt, retryAt > situation.now {
            let isDeferred = last.status == .deferred
            let longest =
                isDeferred
                ? retryAt.millisecondsSince(last.completedAt ?? last.startedAt) : Backoff.longest.wholeMilliseconds
            if retryAt.millisecondsSince(situation.now) <= longest {
                return .nothing(isDeferred ? .deferred : .backoff(until: retryAt))
            }
        }
        return .deploy(attempt: last.attempt + 1, series: last.series)
    }
}

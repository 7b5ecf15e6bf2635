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
        if !own.settled {
            // A time further away than any backoff, or than when it was written: the clock was set back since.
            if situation.trigger.respectsBackoff, !situation.isForced, let retryAt = own.retryAt,
                retryAt > situation.now
            {
                let isDeferred = own.status == .deferred
                let longest =
                    isDeferred
                    ? retryAt.millisecondsSince(own.completedAt ?? own.startedAt) : Backoff.longest.wholeMilliseconds
                if retryAt.millisecondsSince(situation.now) <= longest {
                    return .nothing(isDeferred ? .deferred : .backoff(until: retryAt))
                }
            }
            return .deploy(attempt: own.attempt + 1, series: own.series)
        }
        if situation.isForced {
            return own.status == .succeeded
                ? .deploy(attempt: 1, series: nil) : .deploy(attempt: own.attempt + 1, series: own.series)
        }
        // Another commit was settled since, or its deployment moved the workspace or may have: this one is deployed again.
        if let settled = facts.lastSettled, settled.commit != situation.commit {
            return .deploy(attempt: 1, series: nil)
        }
        if let latest = facts.latest, latest.commit != situation.commit,
            latest.published || latest.status == .interrupted || latest.status == .running
        {
            return .deploy(attempt: 1, series: nil)
        }
        if own.status == .succeeded {
            return situation.isWorkspaceMissing ? .deploy(attempt: 1, series: nil) : .nothing(.deployed)
        }
        return .nothing(.settledAsFailed)
    }
}

/// Time between a failure and the next attempt: interval·2^(n−1) after the nth, at most 10 minutes.
enum Backoff {
    static let longest = Duration.seconds(600)

    static func delay(afterFailures failures: Int, interval: Duration) -> Duration {
        var delay = interval
        for _ in 1..<max(1, min(failures, 64)) where delay < longest { delay *= 2 }
        return min(delay, longest)
    }
}

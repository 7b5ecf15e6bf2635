public import Ledger

/// What one check found and did.
public enum CheckOutcome: Sendable {
    /// A deployment was made; how it ended is its status.
    case deployment(Deployment)
    case unchanged(commit: String, Detail)
    /// The remote did not answer, or does not have what is followed. The app and the record were not touched.
    /// - retryAt: when it is asked again at the earliest; nil at the next check.
    case unreachable(String, ErrorKind = .transient, retryAt: Timestamp? = nil)
    /// A setting is wrong. Nothing was run.
    case misconfigured(SettingsError)
    /// The record cannot be read or written. Nothing was run.
    /// - isTransient: whether it may be there again soon.
    case ledgerFailed(String, isTransient: Bool)
    /// A commit could not be prepared. Nothing was run.
    case failed(String)
    /// The agent was asked to stop before there was a deployment.
    case stopped

    public enum Detail: Sendable, Equatable {
        case deployed
        case settledAsFailed
        case backoff(until: Timestamp)
        case deferred
        /// It was rolled back from, and the ref has not moved on.
        /// - failure: why what was gone back to does not stand; nil when it does.
        /// - retryAt: when that is tried again; nil at the next check, or not at all.
        case held(failure: String? = nil, retryAt: Timestamp? = nil)
    }
}

/// What may help against an error.
public enum ErrorKind: String, Sendable {
    /// It may be better by itself.
    case transient
    /// Somebody has to set something right.
    case permanent
}

public import Ledger
public import Settings

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
    /// A rollback that somebody asked for was not made, for this reason; all is as it was.
    indirect case notRolledBack(CheckOutcome)

    public enum Detail: Sendable, Equatable {
        case deployed
        case settledAsFailed
        case backoff(until: Timestamp)
        case deferred
        /// It was rolled back from, and the ref has not moved on.
        case held(Back)
    }

    /// How what was gone back to stands.
    public enum Back: Sendable, Equatable {
        /// It is there.
        case stands
        /// It is published again at this time; nil at the next check. With what is wrong.
        case waits(String, until: Timestamp?)
        /// Nothing more is done about it. With what is wrong.
        case failed(String)
    }
}

/// What may help against an error.
public enum ErrorKind: String, Sendable {
    /// It may be better by itself.
    case transient
    /// Somebody has to set something right.
    case permanent
}

import Ledger
import Settings

extension CheckOutcome {
    /// One word for status and JSON. A deployment that was interrupted did not go through, so it counts as failed; its own
    /// status tells the two apart.
    public var name: String {
        switch self {
        case .deployment(let deployment):
            switch deployment.status {
            case .succeeded: "deployed"
            case .deferred: "deferred"
            case .failed, .interrupted, .running: "failed"
            }
        case .unchanged, .stopped: "unchanged"
        case .unreachable, .ledgerFailed: "unreachable"
        case .misconfigured: "misconfigured"
        case .failed: "failed"
        case .notRolledBack(let reason): reason.name
        }
    }

    /// Whether the commit is tried again by itself, later.
    var isWaiting: Bool {
        switch self {
        case .unchanged(_, .backoff), .unchanged(_, .deferred): true
        case .unchanged(_, .held(.waits)): true
        default: false
        }
    }

    /// Whether it was ended before it came to anything that counts.
    var wasBrokenOff: Bool {
        switch self {
        case .deployment(let deployment): deployment.status == .interrupted
        case .stopped: true
        case .ledgerFailed(_, let isTransient): isTransient
        default: false
        }
    }

    /// Whether the remote, or a submodule's, did not answer, and may do so later.
    var isRemoteAway: Bool {
        if case .unreachable(_, .transient, _) = self { true } else { false }
    }

    /// The commit that was found; nil when none was.
    var commit: String? {
        switch self {
        case .deployment(let deployment): deployment.commit
        case .unchanged(let commit, _): commit
        default: nil
        }
    }

    /// Whether what went wrong may be better by itself; nil where nothing did, or a deployment says so itself.
    public var errorKind: ErrorKind? {
        switch self {
        case .unreachable(_, let kind, _): kind
        case .ledgerFailed(_, let isTransient): isTransient ? .transient : .permanent
        case .misconfigured: .permanent
        case .failed: .transient
        case .notRolledBack(let reason): reason.errorKind
        case .deployment, .unchanged, .stopped: nil
        }
    }

    /// What went wrong, nil when nothing did.
    public var problem: String? {
        switch self {
        case .deployment(let deployment): deployment.errorMessage
        case .unchanged(let commit, .settledAsFailed): "\(commit.prefix(7)) failed and its retries are used up"
        case .unchanged(let commit, .backoff(let until)): "\(commit.prefix(7)) failed; next attempt at \(until.rfc3339)"
        case .unchanged(let commit, .deferred): "\(commit.prefix(7)) is deferred; tried again at the next check"
        case .unchanged(let commit, .held(let back)):
            "\(commit.prefix(7)) is held: it was rolled back from" + (back.problem.map { "; \($0)" } ?? "")
        case .unchanged(_, .deployed), .stopped: nil
        case .unreachable(let text, _, _), .ledgerFailed(let text, _), .failed(let text): text
        case .misconfigured(let error): error.description
        case .notRolledBack(let reason): reason.problem
        }
    }
}

extension CheckOutcome.Back {
    /// What is wrong, and what comes of it; nil when nothing is.
    var problem: String? {
        switch self {
        case .stands: nil
        case .waits(let text, let until):
            "going back failed: \(text); next attempt at \(until?.rfc3339 ?? "the next check")"
        case .failed(let text): "going back failed: \(text)"
        }
    }
}

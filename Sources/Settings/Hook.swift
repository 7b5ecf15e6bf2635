public import Git
public import Ledger

/// A place in a deployment where the team's command runs.
public enum Hook: String, Sendable, CaseIterable {
    case preDeploy = "PRE_DEPLOY"
    case postDeploy = "POST_DEPLOY"
    /// After a strict failure of one of the others; always lenient, never tried again by itself.
    case failedDeploy = "FAILED_DEPLOY"

    package var defaultMode: HookMode { self == .preDeploy ? .strict : .lenient }
    package var defaultRetries: Retries { self == .preDeploy ? .unlimited : .atMost(0) }
}

/// What a failure of a hook means.
public enum HookMode: String, Sendable, CaseIterable {
    /// It fails the deployment.
    case strict
    /// It is a warning in log and record; the deployment goes on.
    case lenient
}

/// Further attempts per commit after a failure.
public enum Retries: Sendable, Equatable {
    case unlimited
    case atMost(Int)

    /// Reads `unlimited` or a whole number from 0 on.
    package init?(_ text: String) {
        if text.lowercased() == "unlimited" {
            self = .unlimited
        } else if let number = Int(text), number >= 0, text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) {
            self = .atMost(number)
        } else {
            return nil
        }
    }

    package var text: String {
        switch self {
        case .unlimited: "unlimited"
        case .atMost(let number): "\(number)"
        }
    }

    /// Nil for as many as it takes.
    package var limit: Int? {
        if case .atMost(let number) = self { number } else { nil }
    }

    /// Whether another attempt is left after so many failures.
    package func allows(afterFailures failures: Int) -> Bool {
        switch self {
        case .unlimited: true
        case .atMost(let number): failures <= number
        }
    }
}

/// One hook as set.
public struct HookSettings: Sendable, Equatable {
    public var hook: Hook
    public var command: String
    /// Relative to the checkout's root; `.` is the root.
    public var folder: String
    /// Which variable named the folder, for messages.
    public var folderSetting: String
    public var timeout: Duration
    public var mode: HookMode
    public var retries: Retries
    /// Whether every host runs it, or one for all.
    public var scope: RunScope
    /// Pathspecs of which a changed file must match one; none: it runs whatever changed.
    public var paths: [Pathspec]
    /// The repository in whose checkout it runs; nil for the app's.
    public var remote: RemoteSettings?
}

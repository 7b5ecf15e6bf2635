import Log

/// How the app of `agent exec` is started, watched and ended.
public struct EntrypointSettings: Sendable, Equatable {
    /// `DEV_START_COMMAND`: what is started when the command line names nothing.
    public var startCommand: String?
    /// `APP_DIR`: the app's working directory, absolute or below the workspace; nil stands for the workspace.
    public var appFolder: String?
    /// How long a start may wait for a remote, a lock or a ledger that is not there.
    public var startTimeout: Duration
    /// Nil: as the way of running has it.
    public var onStart: OnStart?
    public var onDeploy: OnDeploy
    /// What POST_DEPLOY waits for after the app was started; nil waits for nothing.
    public var waitFor: WaitFor?
    public var waitTimeout: Duration
    /// Whether the app gets the agent's own credentials.
    public var sharesCredentials: Bool
    /// Whether the container stays up after the app has failed.
    public var keepsAlive: Bool
    /// Time between SIGTERM and SIGKILL for the app.
    public var stopGrace: Duration
}

/// Whether a start deploys a commit that the record says is deployed.
public enum OnStart: String, Sendable, CaseIterable {
    /// It does: a new container needs its bootstrap.
    case always
    /// Only when the commit is due.
    case changed
}

/// What the app hears of a commit that was published while it runs.
public enum OnDeploy: Sendable, Equatable {
    case none
    case restart
    case signal(Int32)

    /// Reads `none`, `restart` or `signal:NAME`.
    package init?(_ text: String) {
        let text = text.lowercased()
        switch text {
        case "none": self = .none
        case "restart": self = .restart
        default:
            guard text.hasPrefix("signal:"), let number = SignalNames.number(String(text.dropFirst(7))) else {
                return nil
            }
            self = .signal(number)
        }
    }
}

/// When the app counts as ready.
public enum WaitFor: Sendable, Equatable {
    /// Something listens on the port of this host.
    case port(Int)
    /// The URL answers with 2xx or 3xx.
    case http(String)
    case time(Duration)

    /// Reads `tcp:PORT`, `http://…` or a duration.
    package init?(_ text: String) {
        if text.lowercased().hasPrefix("tcp:") {
            guard let port = Int(text.dropFirst(4)), (1...65_535).contains(port) else { return nil }
            self = .port(port)
        } else if text.lowercased().hasPrefix("http://"), text.count > 7 {
            self = .http(text)
        } else if let time = DurationText.parse(text) {
            self = .time(time)
        } else {
            return nil
        }
    }
}

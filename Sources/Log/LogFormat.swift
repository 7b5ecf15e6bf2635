/// How the log's lines are written.
public enum LogFormat: String, Sendable {
    case text, json
}

/// From which level on something is logged.
public enum LogLevel: String, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}

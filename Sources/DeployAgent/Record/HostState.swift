/// How one of a fleet's hosts does, in one word. In the order in which a summary counts them.
public enum HostState: String, Sendable, CaseIterable {
    /// It has the fleet's commit.
    case current
    /// It has another commit, or none.
    case lagging
    /// Its last deployment is under way.
    case deploying
    /// Its last deployment failed.
    case failed
    /// It should have shown itself and did not.
    case silent
    /// Its agent ended in order.
    case stopped
    /// Nobody has seen it for a day.
    case gone
}

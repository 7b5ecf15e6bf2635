/// What was copied from one record to another.
public struct CopyReport: Encodable, Sendable {
    /// Without credentials.
    public let from: String
    public let to: String
    public internal(set) var deployments = 0
    public internal(set) var runs = 0
    /// Deployments that were there already.
    public internal(set) var skipped = 0
    public internal(set) var notifications = 0
    /// Deployments of a workspace that has gone on in the other record since.
    public internal(set) var leftOut = 0
    /// Deployments of the record copied from that have not ended, with their runs.
    public internal(set) var running = 0

    enum CodingKeys: String, CodingKey {
        case from, to, deployments, runs, skipped, notifications, running
        case leftOut = "left_out"
    }

    /// One sentence.
    public var text: String {
        func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
        let told = notifications == 0 ? "" : ", with \(counted(notifications, "pending notification"))"
        return
            "copied \(counted(deployments, "deployment")) and \(counted(runs, "run"))\(told) from \(from) to \(to); "
            + "\(skipped) \(skipped == 1 ? "was" : "were") there already"
    }

    /// What is worth a word beside that.
    public var warnings: [String] {
        var warnings: [String] = []
        if running > 0 {
            warnings.append(
                "\(running) of the deployments \(running == 1 ? "was" : "were") still running; stop the agents and copy again, and what has ended by then is set right"
            )
        }
        if leftOut > 0 {
            warnings.append(
                "\(leftOut) of the deployments \(leftOut == 1 ? "was" : "were") left out: \(to) has newer ones of the same workspace and no ids before those; copy a record before an agent works with the new one"
            )
        }
        return warnings
    }
}

/// The version of the record's tables, one number for every store.
///
/// A step that adds something raises it alone, and an older agent goes on; one after which an older agent would do harm raises
/// `compatibleFrom` with it.
package enum RecordVersion {
    /// The first one; what unreleased agents wrote has lower numbers.
    package static let baseline = 10
    /// What this agent writes.
    package static let known = 10
    /// The oldest agents, by what they know, that may work with the tables of this one.
    package static let compatibleFrom = 10

    /// Refuses a record that this agent cannot work with.
    ///
    /// - Parameters:
    ///   - compatibleFrom: as the record has it; nil where it does not say.
    ///   - another: how another record is named.
    /// - Throws: `LedgerError` `newerSchema` or `olderSchema`.
    package static func check(
        _ version: Int, compatibleFrom: Int?, location: String, another: String
    ) throws {
        if version < baseline {
            throw LedgerError(
                .olderSchema, operation: "open", location: location,
                explanation:
                    "an unreleased agent wrote it (schema \(version), the first one is \(baseline)), and it was left as it is; "
                    + "\(another). In a new record no commit counts as deployed: what the ref points to is deployed once "
                    + "more, hooks too, and tasks that are not in deploy_tasks run again")
        }
        if version > known, (compatibleFrom ?? version) > known {
            throw LedgerError(
                .newerSchema, operation: "open", location: location,
                explanation:
                    "it was written by a newer version of the agent (schema \(version), this one knows \(known)); "
                    + "update the agent, or \(another)")
        }
    }

    /// What is worth a word about one of a newer agent with which this one works.
    package static func note(_ version: Int) -> String {
        "it is of a newer version of the agent (schema \(version), this one knows \(known)), which has only added to it; "
            + "update this agent when you can"
    }
}

/// A record that can be moved to another one: what there is beside deployments and the runs of those.
public protocol SharedRecord: Sendable {
    /// Some runs that belong to nothing, after an id, the oldest first; no runs at the end of the record.
    func runPage(after id: Int64, limit: Int) async throws -> RunPage

    /// Adds runs that belong to nothing, all or nothing. What is there already is not added again, but one that has ended
    /// since takes its place.
    func insert(_ page: RunPage) async throws -> RecordAddition

    /// What came of what is done once, in the order of its keys, after one of them; none at the end.
    func outcomes(after: Outcome.Key?, limit: Int) async throws -> [Outcome]

    /// Adds outcomes, all or nothing. What is there already stays, but for a run that has ended since.
    func insert(_ outcomes: [Outcome]) async throws

    /// The numbers that leases have reached, and the agents that are known.
    func members() async throws -> RecordMembers

    /// Raises leases' numbers to these, but for leases that are held, and adds the agents, where agents are noted; of one that
    /// is there already the later word counts.
    func insert(_ members: RecordMembers) async throws
}

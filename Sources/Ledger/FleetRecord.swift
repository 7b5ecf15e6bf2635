/// A fleet's record that can be moved to another one: what there is beside deployments and their runs.
public protocol FleetRecord: FleetStore {
    /// What came of hooks that ran once for all hosts, in the order of their keys, after one of them; none at the end.
    func fleetHooks(after: FleetHook.Key?, limit: Int) async throws -> [FleetHook]

    /// Adds what came of hooks, all or nothing. What is there already stays, but for a run that has ended since.
    func insert(_ hooks: [FleetHook]) async throws

    /// The numbers that leases have reached, and the agents that are known.
    func members() async throws -> FleetMembers

    /// Raises leases' numbers to these, but for leases that are held, and adds the agents; of one that is there already the
    /// later word counts.
    func insert(_ members: FleetMembers) async throws
}

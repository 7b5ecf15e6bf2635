/// A record that says who does what is done once: all of it under leases.
public protocol LeaseStore: Sendable {
    /// Asks to do a piece of work that is done once. A lease that has expired passes on, and the run under it is recorded as
    /// interrupted.
    func claim(_ request: ClaimRequest) async throws -> ClaimAnswer

    /// Prolongs a lease.
    ///
    /// - Returns: whether it is still this one's.
    func renew(_ lease: Lease) async throws -> Bool

    /// Records how the run under a lease ended, and gives the lease up, in one write. Written twice it does no harm.
    ///
    /// - Returns: how often the work has failed; nil when the lease has passed on: then nothing was written.
    func complete(_ result: ClaimResult) async throws -> Int?

    /// Hears of changes in leases of an app, as `Lease.app` has it.
    func leaseChanges(app: String) -> any LeaseChanges
}

/// Hears of changes in leases; ends with the last reference to it.
public protocol LeaseChanges: Sendable {
    /// Returns when it is time to ask again: something has changed, the lease may have expired, changes may have gone
    /// unheard for a while, or the task was cancelled.
    func next(after held: HeldBy) async
}

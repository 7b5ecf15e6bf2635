package import Shell

/// Keeps a checkout as it is while a command runs there beside the workspace's deployments.
package protocol CheckoutAccess: Sendable {
    /// Waits until a command may begin.
    ///
    /// - Returns: nil when a stop was requested meanwhile.
    /// - Throws: `HostTrouble` when it must not.
    func enter(stop: StopSignal) async throws(HostTrouble) -> CheckoutPass?
}

/// Where a command runs; the checkout stays as it is for as long as there is a reference to it.
package final class CheckoutPass: Sendable {
    package let root: String
    private let holds: [any Sendable]

    package init(root: String, holds: [any Sendable]) {
        self.root = root
        self.holds = holds
    }
}

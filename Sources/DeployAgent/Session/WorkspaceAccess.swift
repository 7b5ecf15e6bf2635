import Execution
import Git
import Settings
import Shell

/// The checkout for a command that runs beside the workspace's deployments: as a link the release that is live when it begins, which
/// stays until it has ended; in place the workspace, whose files do not move meanwhile.
struct WorkspaceAccess: CheckoutAccess {
    let settings: Settings
    let folder: WorkspaceFolder
    /// What the command was read from: it is not run on another commit.
    let commit: String

    func enter(stop: StopSignal) async throws(HostTrouble) -> CheckoutPass? {
        guard !settings.place.isLink else { return try await enterRelease() }
        guard let lock = try await WorkspaceGate(folder).enter(stop: stop) else { return nil }
        try expect(commit: (try? await settings.place.state())?.head)
        return CheckoutPass(root: settings.workspace, holds: [lock])
    }

    private func enterRelease() async throws(HostTrouble) -> CheckoutPass {
        let releases = Releases(of: CommitStore(folder: folder.path), workspace: settings.workspace)
        // The link may move on, and what it led to be removed, between two steps.
        for _ in 0..<10 {
            guard let release = releases.live(), let hold = release.hold() else { continue }
            try expect(commit: release.commit)
            return CheckoutPass(root: release.path, holds: [hold])
        }
        throw HostTrouble("\(settings.workspace) leads to no release of this agent's")
    }

    private func expect(commit found: String?) throws(HostTrouble) {
        guard found == commit else {
            throw HostTrouble(
                "the workspace has moved from \(commit.prefix(7)) to \(found?.prefix(7) ?? "no commit") meanwhile; ask for it again"
            )
        }
    }
}

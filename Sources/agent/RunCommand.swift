import AgentHTTP
import ArgumentParser
import DeployAgent
import Execution
import Ledger

/// `agent run`: the sidecar.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Check every GITHUB_SYNC_INTERVAL until stopped; SIGHUP checks at once.",
        discussion: """
            Waits while another agent works on the workspace. SIGTERM and SIGINT end the hook that runs, record it, and stop.

            Example:
              GITHUB_REPO_URL=https://host/shop.git agent run --workspace /srv/shop
            """)

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, _ in
            let ledger = try session.openLedger()
            defer { ledger.close() }
            let (vitals, bell, isUp) = (Vitals(), TriggerBell(), Latch())
            let inForce = InForce(session.settings, ledger)
            let notifier = Notifier(session: session, inForce: inForce, send: NotificationSender.send)
            let sidecar = Sidecar(
                session: session, inForce: inForce, notifier: notifier, vitals: vitals, bell: bell, after: isUp)
            let face = HTTPFace(
                session: session, inForce: inForce, vitals: vitals, bell: bell, version: AgentCommand.version,
                isUp: isUp)
            try await session.serve(sidecar, beside: [face, notifier], bell: bell)
            if let failure = sidecar.failure { throw failure }
            return .success
        }
    }
}

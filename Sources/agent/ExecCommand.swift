import AgentHTTP
import ArgumentParser
import DeployAgent
import Ledger

/// `agent exec`: the entrypoint of a container.
struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Deploy, start the app, and check while it runs: a container's entrypoint.",
        discussion: """
            PRE_DEPLOY runs before the app starts, POST_DEPLOY beside it. Signals go to the app; the agent ends with the app's \
            exit code, 128+N when signal N ended it, 127 when it was not found, 126 when it cannot be executed, 1 when a \
            strict hook failed at the start.

            Without COMMAND: DEV_START_COMMAND, else dev_startup.sh or startup.sh of the workspace.

            Example:
              agent exec --workspace /srv/shop -- npm start
            """)

    @OptionGroup var common: CommonOptions

    @Argument(
        parsing: .postTerminator, help: ArgumentHelp("The app's command and its arguments.", valueName: "command"))
    var words: [String] = []

    func run() async throws {
        try await common.session { session, _ in
            let ledger = try session.openLedger()
            defer { ledger.close() }
            let (vitals, bell, isUp) = (Vitals(), TriggerBell(), Latch())
            let inForce = InForce(session.settings, ledger)
            let notifier = Notifier(session: session, inForce: inForce, send: NotificationSender.send)
            let entrypoint = Entrypoint(
                session: session, inForce: inForce, notifier: notifier, words: words, probe: HTTPProbe.answers,
                vitals: vitals, bell: bell, after: isUp)
            let face = HTTPFace(
                session: session, inForce: inForce, vitals: vitals, bell: bell, version: AgentCommand.version,
                isUp: isUp)
            try await session.serveUntilItEnds(entrypoint, beside: [face, notifier])
            if let failure = entrypoint.failure { throw failure }
            return ExitCode(entrypoint.exitCode)
        }
    }
}

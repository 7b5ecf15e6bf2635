import Execution
import Git
import Glibc
import Logging
import Settings
import Shell

/// Starts the app, starts it anew, hands signals on, and says when it has ended by itself.
actor AppSupervisor {
    /// How the app ended, as an exit code has it.
    struct End: Sendable, Equatable {
        /// Its own code, or 128+N when signal N ended it.
        var code: Int32
        var text: String

        init(_ termination: Verdict.Termination) {
            switch termination {
            case .exited(let code):
                self.code = Int32(truncatingIfNeeded: code)
                text = "exit code \(code)"
            case .signaled(let number):
                self.code = 128 + Int32(truncatingIfNeeded: number)
                text = "ended by \(SignalNames.name(Int32(truncatingIfNeeded: number)))"
            }
        }
    }

    private let words: [String]
    private let environment: ProcessEnvironment
    private let logger: Logger
    /// Called when the app has ended and nobody asked it to.
    private let onEnd: @Sendable (End) -> Void
    private var app: AppProcess?
    /// One that is being ended: it still hears signals.
    private var ending: AppProcess?
    /// Whether one is being ended for another to take its place.
    private var isRestarting = false
    /// Signals that came meanwhile.
    private var kept: [Int32] = []

    init(
        words: [String], environment: ProcessEnvironment, logger: Logger, onEnd: @escaping @Sendable (End) -> Void
    ) {
        self.words = words
        self.environment = environment
        self.logger = logger
        self.onEnd = onEnd
    }

    var isRunning: Bool { app != nil }

    /// Starts the app for a commit.
    /// - Throws: `AppCommand.Unusable`.
    func start(_ settings: Settings, commit: String, ref: String?) throws {
        let command = try AppCommand.resolve(words, settings, searchPath: environment["PATH"])
        let variables = [
            "DEPLOY_COMMIT": commit, "DEPLOY_COMMIT_SHORT": String(commit.prefix(7)), "DEPLOY_REF": ref ?? "",
            "DEPLOY_WORKSPACE": settings.workspace,
        ]
        let started: AppProcess
        do {
            started = try AppProcess(
                executable: command.executable, arguments: command.arguments, folder: command.folder,
                environment: RunEnvironment.entries(
                    variables, exports: settings.exports, environment: environment,
                    without: settings.withheldFromApp),
                marker: Runner.newMarker())
        } catch {
            let code: Int32 =
                switch (error as? ShellError)?.code {
                case .notFound: 127
                case .notExecutable: 126
                default: 71
                }
            throw AppCommand.Unusable(code: code, message: "\(error)")
        }
        app = started
        let withheld = settings.withheldFromApp.filter { environment[$0] != nil || settings.exports[$0] != nil }
            .sorted()
        let without =
            withheld.isEmpty
            ? ""
            : "; without the agent's credentials (\(withheld.joined(separator: ", ")); \(Setting.appCredentials.name)=true hands them on)"
        logger.info("app started (process \(started.pid), in \(command.folder))\(without)")
        Task {
            let end = End(await started.termination)
            self.ended(started, end)
        }
        if !kept.isEmpty {
            let signals = kept
            kept = []
            Task { await passOn(signals, to: started) }
        }
    }

    /// Hands on what came before the app was there. It hears nothing in its first moments: a signal waits until it is caught, or
    /// five seconds.
    private func passOn(_ signals: [Int32], to started: AppProcess) async {
        for number in signals {
            let deadline = ContinuousClock.now + .seconds(5)
            while app === started, !started.catches(number), ContinuousClock.now < deadline {
                try? await Task.sleep(for: .milliseconds(20))
            }
            if app === started { started.send(number) }
        }
    }

    private func ended(_ which: AppProcess, _ end: End) {
        // One that was ended for another to take its place is no longer ours by now.
        guard app === which else { return }
        app = nil
        logger.log(level: end.code == 0 ? .info : .warning, "the app ended: \(end.text)")
        onEnd(end)
    }

    /// Sends a signal to the app's process group, or keeps it for the app that is to be started in another's place.
    /// - Returns: whether there is one to hear it.
    @discardableResult
    func send(_ signal: Int32) -> Bool {
        if isRestarting, app == nil {
            kept.append(signal)
            return true
        }
        guard let hears = app ?? ending else { return false }
        hears.send(signal)
        return true
    }

    /// Ends the app: SIGTERM, grace, SIGKILL to all that it started.
    /// - Returns: how it ended; nil when none was running.
    @discardableResult
    func end(grace: Duration, hurry: StopSignal) async -> End? {
        guard let last = app else { return nil }
        (app, ending) = (nil, last)
        await last.end(grace: grace, hurry: hurry)
        ending = nil
        return End(await last.termination)
    }

    /// Ends the app and starts it anew.
    ///
    /// - Parameter unless: asked in between; then it is not started.
    /// - Throws: `AppCommand.Unusable`.
    func restart(
        _ settings: Settings, commit: String, ref: String?, grace: Duration, hurry: StopSignal,
        unless: @Sendable () -> Bool
    ) async throws {
        isRestarting = true
        defer { isRestarting = false }
        await end(grace: grace, hurry: hurry)
        if !unless() { try start(settings, commit: commit, ref: ref) }
    }
}

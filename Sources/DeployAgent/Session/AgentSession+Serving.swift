import Glibc
import Ledger
import Logging
public import ServiceLifecycle
import Settings
import Shell

extension AgentSession {
    /// Runs a service that takes signals itself, with others beside it, until it ends.
    public func serveUntilItEnds(_ service: any Service, beside others: [any Service]) async throws {
        defer { ProcessSignals.stopListening() }
        try await group(service, beside: others).run()
    }

    private func group(_ service: any Service, beside others: [any Service]) -> ServiceGroup {
        // At level debug the group prints its services with all that they hold, secrets as lists of bytes among it, which no
        // masking finds. It says nothing else.
        var quiet = logger
        quiet.logLevel = .critical
        return ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: others.map { .init(service: $0) }
                    + [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                logger: quiet))
    }

    /// Runs a service, with others beside it, until it ends by itself or a signal asks it to.
    ///
    /// - Parameter bell: is rung by SIGHUP, which ends a service that has none.
    public func serve(
        _ service: any Service, beside others: [any Service] = [], bell: TriggerBell? = nil
    ) async throws {
        let group = group(service, beside: others)
        let logger = logger
        // The first request is as good as many.
        let (requests, ask) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingOldest(1))
        let (receiver, hasTerminal) = (bell == nil ? SignalUse.Receiver.once : .sidecar, ProcessSignals.hasTerminal)
        // Listened to before anything starts: a signal in between would end the process with a hook running.
        ProcessSignals.listen { number, isFromKernel in
            switch SignalUse(of: number, to: receiver, isFromKernel: isFromKernel, hasTerminal: hasTerminal) {
            // Not logged here: a log that nobody reads would hold up the thread that takes signals.
            case .ends: ask.yield(number)
            case .checks: bell?.ring(.signal)
            case .stops, .kernel: return false
            case .none, .app, .appAndEnds: break
            }
            return true
        }
        defer { ProcessSignals.stopListening() }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                for await number in requests {
                    await group.triggerGracefulShutdown()
                    if number != SIGTERM, number != SIGINT { logger.info("\(SignalNames.name(number)): stopping") }
                }
            }
            defer { tasks.cancelAll() }
            try await group.run()
        }
    }
}

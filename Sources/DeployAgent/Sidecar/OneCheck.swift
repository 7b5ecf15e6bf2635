public import Ledger
public import ServiceLifecycle
import Shell
import UnixSignals

/// The single check of `agent run-once`.
///
/// On graceful shutdown the run in progress is ended and recorded.
public final class OneCheck: Service {
    public enum Result: Sendable {
        /// With the record in which a deployment stands.
        case checked(CheckOutcome, any LedgerStore)
        /// Another agent works on the workspace.
        case busy(LockRecord?)
    }

    private let session: AgentSession
    private let ledger: any LedgerStore
    private let isForced: Bool
    private let stop = StopSignal()
    private let cell = Cell<Result?>(nil)

    /// - Parameter isForced: deploy although the commit is settled.
    public init(session: AgentSession, ledger: any LedgerStore, isForced: Bool) {
        self.session = session
        self.ledger = ledger
        self.isForced = isForced
    }

    /// What the check came to; nil before `run()` has returned.
    public var result: Result? { cell.get() }

    public func run() async throws {
        switch try session.attemptLock(command: "run-once") {
        case .held(var holder):
            // One that has just got the lock has not written yet who it is.
            for _ in 0..<20 where holder == nil {
                try await Task.sleep(for: .milliseconds(10))
                holder = session.lockHolder()
            }
            cell.set(.busy(holder))
        case .acquired(let lock):
            defer { lock.release() }
            let watcher = session.watcher(lock, ledger: ledger, stop: stop)
            let outcome = await withGracefulShutdownHandler {
                await watcher.check(.manual, isForced: isForced)
            } onGracefulShutdown: {
                self.stop.request()
            }
            cell.set(.checked(outcome, watcher.ledger))
        }
    }
}

extension AgentSession {
    /// Runs a service that takes signals itself, with others beside it, until it ends.
    public func serveUntilItEnds(_ service: any Service, beside others: [any Service]) async throws {
        try await group(service, beside: others).run()
    }

    private func group(_ service: any Service, beside others: [any Service]) -> ServiceGroup {
        ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: others.map { .init(service: $0) }
                    + [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                logger: logger))
    }

    /// Runs a service, with others beside it, until it ends by itself or SIGTERM or SIGINT asks it to.
    public func serve(
        _ service: any Service, beside others: [any Service] = [], hangupStops: Bool = false
    ) async throws {
        let group = group(service, beside: others)
        // Listened to before anything starts: the group itself begins to listen only beside its services, and a signal in
        // between would end the process with a hook running.
        let signals = await UnixSignalsSequence(trapping: [.sigterm, .sigint] + (hangupStops ? [.sighup] : []))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                for await _ in signals { await group.triggerGracefulShutdown() }
            }
            defer { tasks.cancelAll() }
            try await group.run()
        }
    }
}

import Execution
import Ledger
import Log
import Logging
public import ServiceLifecycle
public import Settings
public import Shell
import Synchronization

/// Tells `NOTIFY_URL` of each settled deployment, from the record, until it has been taken.
///
/// At least once: a crash between the answer and the note of it makes a second delivery with the same id.
public final class Notifier: Service {
    /// One attempt.
    public struct Delivery: Sendable {
        public var target: NotificationSettings
        /// Stays the same over all attempts.
        public var id: Int64
        public var deployment: DeploymentView
        /// Once requested, the attempt is over.
        public var stop: StopSignal
    }

    /// Makes one attempt; nil when it was taken, else why it was not.
    public typealias Send = @Sendable (Delivery) async -> String?

    /// How long a notification that nobody takes is kept.
    static let longest = Duration.seconds(3 * 24 * 3600)

    private let session: AgentSession
    private let inForce: InForce
    private let send: Send
    private let bell = TriggerBell()
    private let stop = StopSignal()
    /// Whether this process has the workspace's lock: only one may deliver.
    private let isAllowed = Cell(false)
    /// The attempt under way. Whoever wants one meanwhile gets its result; it is broken off by `end` alone.
    private let attempt = Mutex<Task<Duration?, Never>?>(nil)

    public init(session: AgentSession, inForce: InForce, send: @escaping Send) {
        self.session = session
        self.inForce = inForce
        self.send = send
    }

    /// Says that there may be something to deliver, and that this process is the one to do it.
    func wake() {
        isAllowed.set(true)
        bell.ring(.poll)
    }

    public func run() async throws {
        await withGracefulShutdownHandler {
            while !stop.isRequested {
                let wait = isAllowed.get() ? await deliverNext() : nil
                if wait != .zero { _ = await bell.wait(atMost: wait ?? .seconds(24 * 3600), clock: ContinuousClock()) }
            }
        } onGracefulShutdown: {
            self.end()
        }
        // What was broken off before that is no reason for the others to end: a service that returns ends them all, as failed.
        try? await gracefulShutdown()
    }

    /// Breaks off what is under way and begins nothing more.
    func end() {
        stop.request()
        bell.close()
    }

    /// Delivers what is due, for a process that is about to end: until nothing is left or one is not taken. Also beside `run`.
    public func deliverAll() async {
        while !stop.isRequested, await deliverNext() == .zero {}
    }

    /// Makes the attempt that is due first.
    ///
    /// - Returns: how long to wait before the next one; zero when the next one may come at once, nil when none is known.
    private func deliverNext() async -> Duration? {
        let task = attempt.withLock { attempt in
            if let attempt { return attempt }
            let task = Task {
                defer { self.attempt.withLock { $0 = nil } }
                return await makeAttempt()
            }
            attempt = task
            return task
        }
        return await task.value
    }

    private func makeAttempt() async -> Duration? {
        let (settings, ledger) = (inForce.settings, inForce.ledger)
        guard let target = settings.notifications else { return nil }
        do {
            guard let next = try await ledger.nextNotification(settings.scope) else { return nil }
            let wait = next.dueAt.millisecondsSince(.now)
            // A time further away than any pause was written before the clock was set back.
            if wait > 0, wait <= Backoff.longest.wholeMilliseconds { return .milliseconds(wait) }
            return try await deliver(next, to: target, ledger)
        } catch {
            session.logger.warning("notifications wait: \(error)")
            return .seconds(60)
        }
    }

    private func deliver(
        _ next: PendingNotification, to target: NotificationSettings, _ ledger: any LedgerStore
    ) async throws -> Duration? {
        let reader = RecordReader(session: session, inForce)
        guard let deployment = try await ledger.deployment(next.deployment) else {
            try await ledger.write([.removeNotification(next.id)])
            return .zero
        }
        let view = try await reader.viewWithRuns(deployment, outputLimit: OutputShare.notificationLimit)
        let problem = await send(Delivery(target: target, id: next.id, deployment: view, stop: stop))
        // An attempt that the stop broke off is none.
        if stop.isRequested, problem != nil { return nil }
        let writer = session.writer(ledger, stop: stop)
        guard let problem else {
            try await writer.write([.removeNotification(next.id)])
            session.logger.debug("notified of deployment \(deployment.id)")
            return .zero
        }
        let text = session.log.secrets.mask(problem)
        if Duration.milliseconds(Timestamp.now.millisecondsSince(next.createdAt)) > Self.longest {
            try await writer.write([.removeNotification(next.id)])
            session.logger.error("nobody took the notification of deployment \(deployment.id), it is given up: \(text)")
            return .zero
        }
        let pause = Backoff.delay(afterFailures: next.attempts + 1, interval: .seconds(5))
        try await writer.write([.postponeNotification(next.id, until: Timestamp.now.advanced(by: pause))])
        session.logger.warning(
            "the notification of deployment \(deployment.id) was not taken: \(text); tried again in \(DurationText.text(pause))"
        )
        return pause
    }
}

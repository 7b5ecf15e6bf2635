import Ledger
import Log
import Logging
import Shell
import Synchronization

/// Keeps a lease while the run under it goes on, and ends the run in time when that does not work.
///
/// Times count from before a request was sent, on the clock that goes on while the machine sleeps: the server's clock started
/// later, so what ends here in time has ended before another host may begin.
final class LeaseKeeper: Sendable {
    enum Loss: Sendable, Equatable {
        /// Another host has it.
        case passedOn
        /// It could not be renewed in time.
        case expired
    }

    /// How long the run goes on after the last renewal. What follows is the time in which its processes are ended, and some
    /// for a slow machine: all of it lies before the lease is over.
    static let margin = Lease.duration - .seconds(2) - RunGuard.grace

    private let store: any LeaseStore
    private let lease: Lease
    private let stop: StopSignal
    private let logger: Logger
    private let guardian: RunGuard
    private struct State {
        var deadline: BootTime
        var loss: Loss?
    }
    private let state: Mutex<State>

    /// - Parameters:
    ///   - asked: when the lease was asked for.
    ///   - markFile: where the run's `ProcessMark` will be.
    ///   - stop: is requested when the run is to end.
    /// - Throws: `ShellError` when there can be no guard.
    init(
        _ lease: Lease, in store: any LeaseStore, asked: BootTime, markFile: String, killGrace: Duration,
        stop: StopSignal, logger: Logger
    ) throws {
        self.store = store
        self.lease = lease
        self.stop = stop
        self.logger = logger
        let deadline = asked.advanced(by: Self.margin)
        guardian = try RunGuard(markFile: markFile, grace: killGrace, deadline: deadline)
        state = Mutex(State(deadline: deadline))
    }

    /// Why the run's result does not count; nil while it does.
    var loss: Loss? {
        state.withLock { state in
            // The guard may have ended the run without this process being awake to see why.
            state.loss ?? (BootTime.now >= state.deadline ? .expired : nil)
        }
    }

    /// The run has ended.
    func release() {
        // A guard that is gone has ended the run, or somebody has ended the guard: then nobody knows.
        if !guardian.release() { state.withLock { $0.loss = $0.loss ?? .expired } }
    }

    /// Renews the lease until the task is cancelled or the lease is lost.
    func keep() async {
        // At once where the claim's answer was long in coming.
        let left = state.withLock { $0.deadline }.since(.now)
        var next = min(Lease.heartbeat, max(.zero, left - (Self.margin - Lease.heartbeat)))
        var isSaid = false
        while true {
            guard (try? await Task.sleep(for: next)) != nil else { return }
            let sent = BootTime.now
            guard sent < state.withLock({ $0.deadline }) else { return lose(.expired) }
            do {
                guard try await store.renew(lease) else { return lose(.passedOn) }
                let deadline = sent.advanced(by: Self.margin)
                // An answer that came too late: the guard has begun to end the run, and the lease of whatever it still did is
                // of no use.
                let isInTime = state.withLock { state in
                    guard BootTime.now < state.deadline, guardian.prolong(until: deadline) else { return false }
                    state.deadline = deadline
                    return true
                }
                guard isInTime else { return lose(.expired) }
                if isSaid { logger.notice("the lease of \(lease.name) is renewed again") }
                isSaid = false
                next = Lease.heartbeat
            } catch {
                if Task.isCancelled { return }
                let left = state.withLock { $0.deadline }.since(.now)
                if !isSaid {
                    logger.warning(
                        "\(error); \(lease.name) is ended in \(DurationText.text(max(.zero, left))) unless its lease is renewed"
                    )
                }
                isSaid = true
                next = min(.seconds(1), max(.milliseconds(1), left))
            }
        }
    }

    private func lose(_ loss: Loss) {
        state.withLock { $0.loss = loss }
        logger.error(
            loss == .passedOn
                ? "the lease of \(lease.name) (fence \(lease.fence)) has passed to another host: its processes are ended"
                : "the lease of \(lease.name) (fence \(lease.fence)) could not be renewed in time: its processes are ended"
        )
        stop.request()
    }
}

import Ledger
import Log
import Logging
import Shell
import Synchronization

/// Ends a run when nobody lets it go on: `RunGuard`, a process of its own.
protocol RunGuarding: Sendable {
    /// Lets the run go on until then; returns whether it was heard.
    func prolong(until deadline: BootTime) -> Bool

    /// The run has ended; returns whether the guard had not begun to end it.
    func release() -> Bool
}

extension RunGuard: RunGuarding {}

/// The time by which a lease is kept.
struct LeaseTime: Sendable {
    var now: @Sendable () -> BootTime
    var sleep: @Sendable (Duration) async throws -> Void

    /// The machine's, which goes on while it sleeps.
    static let boot = LeaseTime(now: { .now }, sleep: { try await Task.sleep(for: $0) })
}

/// Keeps a lease while the run under it goes on, and until its result is on record; ends the run in time when that does not work.
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
    private let guardian: any RunGuarding
    private let time: LeaseTime
    private struct State {
        var deadline: BootTime
        var loss: Loss?
        /// The run has ended: there is nothing to end any more, and only its result is still to be recorded.
        var isReleased = false
    }
    private let state: Mutex<State>

    /// - Parameters:
    ///   - asked: when the lease was asked for.
    ///   - guardian: ends the run at `margin` after `asked` unless it is prolonged.
    ///   - stop: is requested when the run is to end.
    init(
        _ lease: Lease, in store: any LeaseStore, asked: BootTime, guardian: any RunGuarding, stop: StopSignal,
        logger: Logger, time: LeaseTime = .boot
    ) {
        self.store = store
        self.lease = lease
        self.stop = stop
        self.logger = logger
        self.guardian = guardian
        self.time = time
        state = Mutex(State(deadline: asked.advanced(by: Self.margin)))
    }

    /// Why the run must not go on; nil while it may.
    var loss: Loss? { state.withLock { loss(in: $0) } }

    private func loss(in state: State) -> Loss? {
        // The guard may have ended the run without this process being awake to see why.
        state.loss ?? (!state.isReleased && time.now() >= state.deadline ? .expired : nil)
    }

    /// The run has ended. From now on the lease is renewed for its result alone.
    ///
    /// - Returns: why that does not count; nil when it does.
    func release() -> Loss? {
        state.withLock { state in
            state.loss = loss(in: state)
            state.isReleased = true
            // A guard that is gone has ended the run, or somebody has ended the guard: then nobody knows.
            if !guardian.release() { state.loss = state.loss ?? .expired }
            return state.loss
        }
    }

    /// Renews the lease until the task is cancelled or the lease is lost.
    func keep() async {
        // At once where the claim's answer was long in coming.
        let left = state.withLock { $0.deadline }.since(time.now())
        var next = min(Lease.heartbeat, max(.zero, left - (Self.margin - Lease.heartbeat)))
        var isSaid = false
        while true {
            guard (try? await time.sleep(next)) != nil else { return }
            let sent = time.now()
            guard state.withLock({ $0.isReleased || sent < $0.deadline }) else { return lose(.expired) }
            do {
                guard try await store.renew(lease) else { return lose(.passedOn) }
                let deadline = sent.advanced(by: Self.margin)
                // An answer that came too late: the guard has begun to end the run, and the lease of whatever it still did is
                // of no use.
                let isInTime = state.withLock { state in
                    if state.isReleased { return true }
                    guard time.now() < state.deadline, guardian.prolong(until: deadline) else { return false }
                    state.deadline = deadline
                    return true
                }
                guard isInTime else { return lose(.expired) }
                if isSaid { logger.notice("the lease of \(lease.name) is renewed again") }
                isSaid = false
                next = Lease.heartbeat
            } catch {
                if Task.isCancelled { return }
                let (left, isReleased) = state.withLock { ($0.deadline.since(time.now()), $0.isReleased) }
                if !isSaid, !isReleased {
                    logger.warning(
                        "\(error); \(lease.name) is ended in \(DurationText.text(max(.zero, left))) unless its lease is renewed"
                    )
                }
                isSaid = !isReleased
                next = isReleased ? .seconds(1) : min(.seconds(1), max(.milliseconds(1), left))
            }
        }
    }

    private func lose(_ loss: Loss) {
        // Of a run that has ended the record says whether its result came in time.
        let isReleased = state.withLock { state in
            if !state.isReleased { state.loss = loss }
            return state.isReleased
        }
        guard !isReleased else { return }
        logger.error(
            loss == .passedOn
                ? "the lease of \(lease.name) (fence \(lease.fence)) has passed to another host: its processes are ended"
                : "the lease of \(lease.name) (fence \(lease.fence)) could not be renewed in time: its processes are ended"
        )
        stop.request()
    }
}

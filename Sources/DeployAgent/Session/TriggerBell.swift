public import Ledger
import Synchronization

/// Wakes the check loop before its time: a signal arrived, or the agent stops.
///
/// Rings that come while a check runs are kept, as one.
public final class TriggerBell: Sendable {
    private struct State {
        var pending: Trigger?
        var isClosed = false
        /// The time of the wait that is under way has passed; kept, for the case that it passes before the wait begins.
        var isTimeUp = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    public init() {}

    /// Asks for a check at once.
    public func ring(_ trigger: Trigger) {
        wake { $0.pending = trigger }
    }

    /// Asks again for what was taken; who rang since goes first.
    func giveBack(_ trigger: Trigger) {
        wake { $0.pending = $0.pending ?? trigger }
    }

    /// What rang and was not answered yet; then it is.
    func take() -> Trigger? {
        state.withLock { state in
            defer { state.pending = nil }
            return state.pending
        }
    }

    /// Ends every wait from now on.
    func close() {
        wake { $0.isClosed = true }
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state in
            change(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Waits for a ring, at most so long.
    ///
    /// - Returns: what rang, nil when the time passed or the bell was closed.
    func wait(atMost limit: Duration, clock: any Clock<Duration>) async -> Trigger? {
        state.withLock { $0.isTimeUp = false }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await clock.sleep(for: limit)
                self.wake { $0.isTimeUp = true }
            }
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    if state.pending != nil || state.isClosed || state.isTimeUp { return true }
                    state.waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
            group.cancelAll()
        }
        return take()
    }
}

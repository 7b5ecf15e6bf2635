import Synchronization

/// Remembers the ids of the last deliveries: one that is sent again is not acted on again.
final class Deliveries: Sendable {
    private struct State {
        var known: Set<String> = []
        var order: [String] = []
        /// Where in `order` the oldest one stands, once it is full.
        var oldest = 0
    }

    private let kept: Int
    private let state = Mutex(State())

    init(kept: Int) {
        self.kept = kept
    }

    /// Notes an id; false when it is known.
    func isNew(_ id: String) -> Bool {
        let id = String(id.prefix(200))
        return state.withLock { state in
            guard state.known.insert(id).inserted else { return false }
            if state.order.count < kept {
                state.order.append(id)
            } else {
                state.known.remove(state.order[state.oldest])
                state.order[state.oldest] = id
                state.oldest = (state.oldest + 1) % kept
            }
            return true
        }
    }
}

import CAgentShims
import Glibc
import Synchronization

/// A request to stop that reaches blocking calls: a descriptor becomes readable, once and for good.
///
/// Copies of the reference may ask from any thread; whoever waits polls `descriptor`.
public final class StopSignal: Sendable {
    /// Readable from the first `request()` on; -1 when the system had no descriptor left.
    let descriptor: Int32
    private struct State {
        var isRequested = false
        var next = 0
        /// What is done at the request, by number.
        var waiting: [Int: @Sendable () -> Void] = [:]
    }
    private let state = Mutex(State())

    public init() {
        descriptor = agent_eventfd()
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Asks to stop. Asking again changes nothing.
    public func request() {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            state.isRequested = true
            return state.waiting
        }
        // After that: whoever is woken looks.
        var one: UInt64 = 1
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
        for action in waiting.values { action() }
    }

    /// Does something once a stop is asked for, at once where it has been.
    ///
    /// - Returns: what `forget` takes.
    private func onRequest(_ action: @escaping @Sendable () -> Void) -> Int? {
        let number: Int? = state.withLock { state in
            guard !state.isRequested else { return nil }
            state.next += 1
            state.waiting[state.next] = action
            return state.next
        }
        if number == nil { action() }
        return number
    }

    private func forget(_ number: Int?) {
        if let number { _ = state.withLock { $0.waiting.removeValue(forKey: number) } }
    }

    /// Waits, without a thread, until a stop is asked for or the task is cancelled.
    package func requested() async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let number = onRequest { continuation.finish() }
        for await _ in stream {}
        forget(number)
    }

    /// Blocks until a stop is asked for, at most so long; returns whether it was.
    package func wait(atMost limit: Duration) -> Bool {
        let deadline = ContinuousClock.now + limit
        while !isRequested {
            let left = deadline - ContinuousClock.now
            guard left > .zero else { return false }
            // A signal that some thread handles breaks the wait off; without a descriptor it is looked again and again.
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, (descriptor >= 0 ? left : min(left, .milliseconds(20))).pollTimeout)
        }
        return true
    }

    /// Whether a stop was asked for.
    public var isRequested: Bool { state.withLock { $0.isRequested } }
}

import CAgentShims
import Glibc
import Synchronization

/// A request to stop that reaches blocking calls: a descriptor becomes readable, once and for good.
///
/// Copies of the reference may ask from any thread; whoever waits polls `descriptor`.
public final class StopSignal: Sendable {
    /// Readable from the first `request()` on; -1 when the system had no descriptor left.
    let descriptor: Int32
    /// What is done at the request, by number.
    private let actions = Mutex<(next: Int, waiting: [Int: @Sendable () -> Void])>((0, [:]))

    public init() {
        descriptor = agent_eventfd()
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Asks to stop. Asking again changes nothing.
    public func request() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
        let waiting = actions.withLock { state in
            defer { state.waiting = [:] }
            return state.waiting
        }
        for action in waiting.values { action() }
    }

    /// Does something once a stop is asked for, at once where it has been.
    ///
    /// - Returns: what `forget` takes.
    private func onRequest(_ action: @escaping @Sendable () -> Void) -> Int {
        let number = actions.withLock { state in
            state.next += 1
            state.waiting[state.next] = action
            return state.next
        }
        // Looked at after it was put there: a request before that may have missed it.
        if isRequested, let missed = actions.withLock({ $0.waiting.removeValue(forKey: number) }) { missed() }
        return number
    }

    private func forget(_ number: Int) {
        _ = actions.withLock { $0.waiting.removeValue(forKey: number) }
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
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        var found: Int32
        // A signal that some thread handles breaks the wait off.
        repeat {
            found = poll(&entry, 1, (deadline - ContinuousClock.now).pollTimeout)
        } while found < 0 && errno == EINTR
        return found == 1
    }

    /// Whether a stop was asked for.
    public var isRequested: Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }
}

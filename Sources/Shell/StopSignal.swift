import CAgentShims
import Glibc

/// A request to stop that reaches blocking calls: a descriptor becomes readable, once and for good.
///
/// Copies of the reference may ask from any thread; whoever waits polls `descriptor`.
public final class StopSignal: Sendable {
    /// Readable from the first `request()` on; -1 when the system had no descriptor left.
    let descriptor: Int32

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
    }

    /// Blocks until a stop is asked for, at most so long; returns whether it was.
    package func wait(atMost limit: Duration) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, limit.pollTimeout) == 1
    }

    /// Whether a stop was asked for.
    public var isRequested: Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }
}

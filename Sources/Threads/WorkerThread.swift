import CAgentShims
import Glibc
import Synchronization

/// A thread that runs what it is given, one after the other. Sleeps without waking while there is nothing.
package final class WorkerThread: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Readable when something was put into `jobs`, or the end was asked for.
    private let arrivals: Int32

    /// - Throws: `NoThread`, also when the system has no descriptor for it.
    package init(name: String) throws(NoThread) {
        arrivals = agent_eventfd()
        guard arrivals >= 0 else { throw NoThread(name: name, code: errno) }
        try startThread(name, stackSize: 8 * 1024 * 1024) { self.work() }
    }

    deinit { if arrivals >= 0 { Glibc.close(arrivals) } }

    private func work() {
        while true {
            let (job, isClosed) = state.withLock { state in
                (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isClosed)
            }
            if let job {
                job()
            } else if isClosed {
                return
            } else {
                var entry = pollfd(fd: arrivals, events: Int16(POLLIN), revents: 0)
                _ = poll(&entry, 1, -1)
                var count: UInt64 = 0
                _ = read(arrivals, &count, 8)
            }
        }
    }

    /// Says that the thread has been closed.
    package struct Closed: Error {}

    /// Runs `body` on the thread.
    /// - Throws: what `body` throws; `Closed`.
    package func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isClosed { state.jobs.append { continuation.resume(with: Result(catching: body)) } }
                return !state.isClosed
            }
            guard isOpen else { return continuation.resume(throwing: Closed()) }
            arrive()
        }
    }

    /// Ends the thread after `last`, which is the last that it runs.
    package func close(_ last: @escaping @Sendable () -> Void) {
        let wasOpen = state.withLock { state in
            defer { state.isClosed = true }
            if !state.isClosed { state.jobs.append(last) }
            return !state.isClosed
        }
        if wasOpen { arrive() }
    }

    private func arrive() {
        var one: UInt64 = 1
        _ = write(arrivals, &one, 8)
    }
}

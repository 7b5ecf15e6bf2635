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

    /// What is run, once, and let go of.
    private final class Work<T>: @unchecked Sendable {
        /// Touched by the thread alone once it was handed over.
        private var body: (@Sendable () throws -> T)?

        init(_ body: @escaping @Sendable () throws -> T) { self.body = body }

        func carryOut() -> Result<T, any Error> {
            defer { body = nil }
            guard let body else { return .failure(Closed()) }
            return Result { try body() }
        }
    }

    /// Runs `body` on the thread.
    /// - Throws: what `body` throws; `Closed`.
    package func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let work = Work(body)
            let isOpen = state.withLock { state in
                // The thread has let go of all that `body` holds, the last copy of something perhaps, when the caller goes on.
                if !state.isClosed { state.jobs.append { continuation.resume(with: work.carryOut()) } }
                return !state.isClosed
            }
            guard isOpen else { return continuation.resume(throwing: Closed()) }
            arrive()
        }
    }

    /// The same for what may block longer than anybody wants to wait: a cancelled task goes on at once, and what `body` comes to
    /// then is thrown away.
    /// - Throws: what `body` throws; `Closed`; `CancellationError`.
    package func runUnlessCancelled<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        let turn = FirstResult<T>()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                turn.await(continuation)
                let isOpen = state.withLock { state in
                    if !state.isClosed { state.jobs.append { turn.end(with: Result(catching: body)) } }
                    return !state.isClosed
                }
                if isOpen { arrive() } else { turn.end(with: .failure(Closed())) }
            }
        } onCancel: {
            turn.end(with: .failure(CancellationError()))
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

/// Whatever comes first, for whoever waits for it.
private final class FirstResult<T: Sendable>: Sendable {
    private struct State {
        var continuation: CheckedContinuation<T, any Error>?
        var result: Result<T, any Error>?
    }

    private let state = Mutex(State())

    func await(_ continuation: CheckedContinuation<T, any Error>) {
        let result = state.withLock { state in
            if state.result == nil { state.continuation = continuation }
            return state.result
        }
        if let result { continuation.resume(with: result) }
    }

    func end(with result: Result<T, any Error>) {
        let continuation = state.withLock { state in
            defer { state.continuation = nil }
            state.result = state.result ?? result
            return state.continuation
        }
        continuation?.resume(with: result)
    }
}

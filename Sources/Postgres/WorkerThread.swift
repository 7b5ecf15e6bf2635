import CAgentShims
import Glibc
import Synchronization

/// A thread that runs what it is given, one after the other. Sleeps without waking while there is nothing.
final class WorkerThread: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var isClosed = false
    }

    private let name: String
    private let state = Mutex(State())
    /// Readable when something was put into `jobs`, or the end was asked for.
    private let arrivals: Int32

    /// - Throws: `PostgresError` `unreachable` when the system has no thread or descriptor left.
    init(name: String) throws {
        self.name = name
        arrivals = agent_eventfd()
        guard arrivals >= 0 else { throw Self.failure() }
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 1024 * 1024)
        let me = Unmanaged.passRetained(self)
        let failed = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                let me = Unmanaged<WorkerThread>.fromOpaque(context).takeRetainedValue()
                agent_name_thread(me.name)
                me.work()
                return nil
            }, me.toOpaque())
        guard failed == 0 else {
            me.release()
            throw Self.failure()
        }
    }

    deinit { Glibc.close(arrivals) }

    private static func failure() -> PostgresError {
        PostgresError(.unreachable, message: "no thread for a connection: \(String(cString: strerror(errno)))")
    }

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

    /// Runs `body` on the thread.
    func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isClosed { state.jobs.append { continuation.resume(with: Result(catching: body)) } }
                return !state.isClosed
            }
            guard isOpen else {
                return continuation.resume(
                    throwing: PostgresError(.unreachable, message: "the connection is closed"))
            }
            arrive()
        }
    }

    /// Ends the thread after `last`, which is the last that it runs.
    func close(_ last: @escaping @Sendable () -> Void) {
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

/// Runs `body` on a thread that nobody waits for; where the system has none left, not at all.
func startDetachedThread(_ body: @escaping @Sendable () -> Void) {
    guard let thread = try? WorkerThread(name: "postgres-cancel") else { return }
    thread.close(body)
}

import CAgentShims
import Glibc
import Synchronization
import Threads

/// One connection to a server, on one thread.
///
/// What is asked is asked in blocks: nobody else's statements come between those of one block.
public final class PostgresConnection: Sendable {
    /// Only ever touched on the thread.
    private final class Held: @unchecked Sendable {
        var session: PostgresSession?
    }

    private let thread: WorkerThread
    private let held = Held()
    /// Readable once what is under way is to be given up.
    private let cancellation: Int32

    /// Connects.
    ///
    /// - Parameter limit: how long that may take.
    /// - Throws: `PostgresError`.
    public init(_ string: ConnectionString, within limit: Duration = .seconds(15)) async throws {
        let cancellation = agent_eventfd()
        guard cancellation >= 0 else {
            throw PostgresError(
                .unreachable, message: "no descriptor for a connection: \(String(cString: strerror(errno)))")
        }
        self.cancellation = cancellation
        do {
            thread = try WorkerThread(name: "postgres")
        } catch {
            close(cancellation)
            throw PostgresError(.unreachable, message: "\(error)")
        }
        let (held, thread) = (held, thread)
        do {
            // libpq may ask a name server in spite of all, by a service's file or Kerberos: then the thread is left to it.
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await Self.onThread(thread, cancellation, mayLeaveIt: true) {
                        held.session = try PostgresSession(string, cancellation: cancellation, deadline: .now + limit)
                    }
                }
                group.addTask {
                    try await Task.sleep(for: limit + .milliseconds(500))
                    throw PostgresError(.timedOut, message: "the server did not answer in time")
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch {
            thread.close {
                held.session = nil
                close(cancellation)
            }
            throw error
        }
    }

    deinit {
        let (held, cancellation) = (held, cancellation)
        thread.close {
            held.session = nil
            close(cancellation)
        }
    }

    /// Runs a block of statements, each its own transaction.
    ///
    /// A cancelled task gives up at once; so does one that takes too long. The connection is closed then.
    /// - Parameter limit: how long the block may take.
    @discardableResult
    public func run<T: Sendable>(
        within limit: Duration = .seconds(30), _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        let held = held
        return try await Self.onThread(thread, cancellation) {
            guard let session = held.session, !session.isBroken else {
                throw PostgresError(.unreachable, message: "the connection is closed")
            }
            session.deadline = .now + limit
            return try body(session)
        }
    }

    /// Runs a block of statements as one transaction: all of it takes effect, or nothing.
    ///
    /// Times on the server's side are bounded within the transaction, and so is the schema, so that a pooler between is no
    /// obstacle.
    /// - Parameter schema: the one in which names without a schema are; nil leaves that to the server.
    @discardableResult
    public func transaction<T: Sendable>(
        in schema: String? = nil, within limit: Duration = .seconds(30),
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        try await run(within: limit) { session in
            let milliseconds = limit.components.seconds * 1000
            let path = schema.map { "; SET LOCAL search_path TO \(quotedIdentifier($0))" } ?? ""
            do {
                try session.script(
                    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout TO \(milliseconds); SET LOCAL lock_timeout TO \(milliseconds)\(path)"
                )
                let result = try body(session)
                try session.query("COMMIT")
                return result
            } catch {
                // On a broken connection the server rolls back by itself.
                if !session.isBroken { _ = try? session.query("ROLLBACK") }
                throw error
            }
        }
    }

    /// Waits for the next notification of the channels that are listened to; nil when none came in time.
    public func nextNotification(within limit: Duration) async throws -> PostgresNotification? {
        try await run(within: limit) { try $0.nextNotification() }
    }

    /// - Parameter mayLeaveIt: whether a cancelled task goes on although the thread does not answer.
    private static func onThread<T: Sendable>(
        _ thread: WorkerThread, _ cancellation: Int32, mayLeaveIt: Bool = false,
        _ body: @escaping @Sendable () throws -> T
    ) async throws -> T {
        let turn = Turn(cancellation)
        let job: @Sendable () throws -> T = {
            guard turn.begin() else { throw PostgresError(.cancelled, message: "it was cancelled") }
            defer { turn.end() }
            return try body()
        }
        return try await withTaskCancellationHandler {
            do {
                return mayLeaveIt ? try await thread.runUnlessCancelled(job) : try await thread.run(job)
            } catch is WorkerThread.Closed {
                throw PostgresError(.unreachable, message: "the connection is closed")
            } catch is CancellationError {
                throw PostgresError(.cancelled, message: "it was cancelled")
            }
        } onCancel: {
            turn.cancel()
        }
    }
}

/// One block's time on the thread: only while it lasts does its cancellation concern the connection, which others use before
/// and after it.
private final class Turn: Sendable {
    private let cancellation: Int32
    private let state = Mutex((isCancelled: false, isRunning: false))

    init(_ cancellation: Int32) { self.cancellation = cancellation }

    /// - Returns: whether it may run.
    func begin() -> Bool {
        state.withLock { state in
            // What an earlier block's task asked for is over.
            var count: UInt64 = 0
            _ = read(cancellation, &count, 8)
            state.isRunning = !state.isCancelled
            return state.isRunning
        }
    }

    func end() { state.withLock { $0.isRunning = false } }

    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            var one: UInt64 = 1
            if state.isRunning { _ = write(cancellation, &one, 8) }
        }
    }
}

/// A name as SQL has it where it may hold anything.
public func quotedIdentifier(_ name: String) -> String {
    "\"" + name.replacing("\"", with: "\"\"") + "\""
}

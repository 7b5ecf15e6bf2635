import Postgres
import Synchronization

/// One connection for transactions that come one after the other: opened when there is one, closed when none has come for a
/// while, and opened anew after it broke.
final class ConnectionLane: Sendable {
    private struct State {
        var connection: PostgresConnection?
        var lastUse = ContinuousClock.now
        var isClosing = false
    }

    private let connect: @Sendable () async throws -> PostgresConnection
    private let idle: Duration
    private let state = Mutex(State())

    /// - Parameter idle: how long a connection that nobody needs stays open.
    init(idle: Duration, connect: @escaping @Sendable () async throws -> PostgresConnection) {
        self.idle = idle
        self.connect = connect
    }

    /// - Throws: `PostgresError` and what `body` throws.
    func transaction<T: Sendable>(
        in schema: String, within limit: Duration, _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        let connection = try await borrow()
        defer { closeWhenIdle() }
        do {
            return try await connection.transaction(in: schema, within: limit, body)
        } catch let error as PostgresError {
            // After anything but a refusal the connection is closed; the next transaction opens another.
            if error.code != .refused { state.withLock { $0.connection = nil } }
            throw error
        }
    }

    /// Uses a connection that was opened for something else, where there is none.
    func take(_ connection: PostgresConnection) {
        state.withLock { state in
            guard state.connection == nil else { return }
            state.connection = connection
        }
        closeWhenIdle()
    }

    func close() {
        state.withLock { $0.connection = nil }
    }

    private func borrow() async throws -> PostgresConnection {
        if let connection = state.withLock({ state in
            state.lastUse = .now
            return state.connection
        }) {
            return connection
        }
        let made = try await connect()
        return state.withLock { state in
            // Of two that were opened at once one is enough.
            if let connection = state.connection { return connection }
            state.connection = made
            return made
        }
    }

    /// One watch at a time: it goes on for as long as there are uses, and ends with the connection.
    private func closeWhenIdle() {
        let begins = state.withLock { state in
            defer { state.isClosing = true }
            state.lastUse = .now
            return !state.isClosing
        }
        guard begins else { return }
        let idle = idle
        Task { [weak self] in
            while let next = self?.state.withLock({ state -> ContinuousClock.Instant? in
                let next = state.lastUse + idle
                guard state.connection == nil || next <= .now else { return next }
                state.connection = nil
                state.isClosing = false
                return nil
            }) {
                try? await Task.sleep(until: next, clock: .continuous)
            }
        }
    }
}

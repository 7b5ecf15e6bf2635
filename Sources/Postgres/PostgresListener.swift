import Synchronization

/// Hears what `NOTIFY` sends to one channel, over a connection of its own that is made anew when it breaks.
///
/// A notification is not kept by the server: what was sent while there was no connection is lost. So `next` says when it has
/// begun to listen, for the caller to read what the notifications are about.
public final class PostgresListener: Sendable {
    public enum Event: Sendable, Equatable {
        /// From now on notifications are heard; what came before is not known.
        case listening
        case notified(payload: String)
        /// Nothing came in time.
        case quiet
        /// There is no connection, or none that hears anything: the time has not been waited for.
        case deaf
    }

    private let connect: @Sendable () async throws -> PostgresConnection?
    private let channel: String
    private let held = Mutex<PostgresConnection?>(nil)

    /// - Parameters:
    ///   - channel: any name of at most 63 bytes.
    ///   - connect: makes a connection; nil when there shall be none now. It is called again after each that broke.
    public init(channel: String, connect: @escaping @Sendable () async throws -> PostgresConnection?) {
        self.channel = channel
        self.connect = connect
    }

    /// Waits for the next notification. Calls must not overlap; cancellation ends the wait with `deaf`.
    public func next(within limit: Duration) async -> Event {
        guard let connection = held.withLock({ $0 }) else { return await listen() }
        do {
            guard let notification = try await connection.nextNotification(within: limit) else { return .quiet }
            return .notified(payload: notification.payload)
        } catch {
            held.withLock { $0 = nil }
            return .deaf
        }
    }

    /// Ends the listening and hands over the connection, which is open already; nil when there is none.
    public func handOver() -> PostgresConnection? {
        held.withLock { held in
            defer { held = nil }
            return held
        }
    }

    private func listen() async -> Event {
        let name = quotedIdentifier(channel)
        do {
            guard let made = try await connect() else { return .deaf }
            guard
                try await made.run(
                    within: .seconds(10),
                    { session in
                        guard try !session.isPooled() else { return false }
                        try session.query("LISTEN \(name)")
                        return true
                    })
            else { return .deaf }
            held.withLock { $0 = made }
            return .listening
        } catch {
            return .deaf
        }
    }
}

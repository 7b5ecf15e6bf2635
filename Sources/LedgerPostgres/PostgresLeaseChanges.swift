public import Ledger
import Postgres
import Synchronization

extension PostgresLedger {
    /// At most 63 bytes, whatever the schema is called.
    var leaseChannel: String { "deploy_agent_leases:" + String(decoding: schema.utf8.prefix(40), as: UTF8.self) }

    public func leaseChanges(app: String) -> any LeaseChanges {
        PostgresLeaseChanges(
            app: app, lane: lane,
            listener: listener(channel: leaseChannel) { connection in
                try await connection.run(within: .seconds(5)) { session in
                    // A tenth of the server's connections at most, the oldest first: the others ask from time to time.
                    try session.query(
                        """
                        SELECT count(*) < greatest(1, current_setting('max_connections')::integer / 10)
                        FROM pg_stat_activity AS other, pg_stat_activity AS own
                        WHERE own.pid = pg_backend_pid() AND other.application_name = $1
                        AND (other.backend_start, other.pid) < (own.backend_start, own.pid)
                        """, [.text(PostgresLedger.listening)]
                    ).rows[0].get(0)
                }
            })
    }
}

/// Waits by LISTEN where that works, with a poll behind it: a notification may be lost with its connection.
private final class PostgresLeaseChanges: LeaseChanges {
    private let app: String
    private let lane: ConnectionLane
    private let listener: PostgresListener
    /// When listening is worth another try.
    private let deafUntil = Mutex(ContinuousClock.now)

    init(app: String, lane: ConnectionLane, listener: PostgresListener) {
        self.app = app
        self.lane = lane
        self.listener = listener
    }

    func next(after held: HeldBy) async {
        let begin = ContinuousClock.now
        // Just after the lease has expired, if it is not renewed: then it is there to be taken.
        // Of many hosts not all at once.
        let spread = Duration.milliseconds(Int.random(in: 0...min(3000, 3 * max(1, held.hosts))))
        let expiry = begin + held.expiresIn + .milliseconds(50) + spread
        // Without notifications: more hosts ask less often each.
        let poll = .milliseconds(500) * (Double(max(20, held.hosts)) / 20 * Double.random(in: 0.8...1.2))
        let quiet = min(expiry, begin + .seconds(2))
        while ContinuousClock.now < quiet, deafUntil.withLock({ $0 }) <= ContinuousClock.now {
            switch await listener.next(within: quiet - ContinuousClock.now) {
            case .listening: return
            case .notified(let payload):
                guard payload == app else { continue }
                // Mostly the wait is over: then what is asked next need not wait for a connection to be made.
                if let connection = listener.handOver() { lane.take(connection) }
                return
            case .quiet: return
            case .deaf:
                if Task.isCancelled { return }
                deafUntil.withLock { $0 = .now + .seconds(30) }
            }
        }
        try? await Task.sleep(until: min(expiry, begin + poll), clock: .continuous)
    }
}

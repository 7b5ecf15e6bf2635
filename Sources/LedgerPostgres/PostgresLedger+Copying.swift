public import Ledger
import Postgres

/// Moving a record.
extension PostgresLedger {
    public func page(after id: Int64, limit: Int) async throws -> RecordPage {
        try await work("read") { session in
            try RecordPage(PostgresRecordTables(session: session), after: id, limit: limit)
        }
    }

    public func runPage(after id: Int64, limit: Int) async throws -> RunPage {
        try await work("read") { session in
            try RunPage(PostgresRecordTables(session: session), after: id, limit: limit)
        }
    }

    public func insert(_ page: RunPage) async throws -> RecordAddition {
        try await alone { session in try RecordMerge.add(page, to: PostgresRecordTables(session: session)) }
    }

    public func insert(_ page: RecordPage) async throws -> RecordAddition {
        try await alone { session in try RecordMerge.add(page, to: PostgresRecordTables(session: session)) }
    }

    /// Runs a block while nobody else adds to the tables: an agent that took the next id meanwhile would take one that is
    /// free now.
    ///
    /// The lock is asked for again and again instead of waited for: agents write to the tables in another order, and of two
    /// that wait for each other the server would end one, perhaps the agent.
    private func alone<T: Sendable>(_ body: @escaping @Sendable (PostgresSession) throws -> T) async throws -> T {
        let deadline = ContinuousClock.now + .seconds(30)
        while true {
            let result: T? = try await work("write") { session in
                try session.query("SET LOCAL lock_timeout TO 100")
                do {
                    try session.query("LOCK TABLE deployments, runs, notifications IN SHARE ROW EXCLUSIVE MODE")
                } catch let error as PostgresError where error.sqlState == "55P03" && ContinuousClock.now < deadline {
                    return nil
                }
                return try body(session)
            }
            if let result { return result }
            try? await Task.sleep(for: .milliseconds(Int.random(in: 20...200)))
        }
    }
}

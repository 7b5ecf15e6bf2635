import Postgres
import Testing

@testable import LedgerPostgres

/// How long connections are waited for once the agent ends.
@Suite(.timeLimit(.minutes(1)))
struct ConnectionPatienceTests {
    /// A server that does not answer, until nobody waits for it.
    private static func hangs() async throws { try await Task.sleep(for: .seconds(1000)) }

    @Test("one that is under way has the whole moment from the end on, however long it has been")
    func underWay() async throws {
        let patience = ConnectionPatience(atTheEnd: .milliseconds(200))
        let begun = ContinuousClock.now
        let connecting = Task { try await patience.connect(Self.hangs) }
        // As long as the moment has been over for it by then.
        try await Task.sleep(until: begun + .milliseconds(250), clock: .continuous)
        let end = ContinuousClock.now
        patience.hurry()
        let error = await #expect(throws: PostgresError.self) { try await connecting.value }
        #expect(error?.code == .timedOut)
        #expect(ContinuousClock.now - end >= .milliseconds(200))
        // The moment is for all together: what comes then has little.
        let late = ContinuousClock.now
        await #expect(throws: PostgresError.self) { try await patience.connect(Self.hangs) }
        #expect(ContinuousClock.now - late >= .milliseconds(100))
    }
}

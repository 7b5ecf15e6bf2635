import Postgres
import Synchronization

/// How long connections are waited for: as long as they may take, and once the agent ends no longer than a moment, for all that
/// do not come together. What is still to be recorded then is tried all the same.
final class ConnectionPatience: Sendable {
    /// For each, when the time for all is over.
    private static let least = Duration.milliseconds(100)

    /// For all together, from the end on.
    private let atTheEnd: Duration

    private struct State {
        /// Nil until the agent ends.
        var left: Duration?
        var end = ContinuousClock.now
        var number = 0
        var waiting: [Int: AsyncStream<Void>.Continuation] = [:]
    }

    private let state = Mutex(State())

    init(atTheEnd: Duration = .seconds(2)) { self.atTheEnd = atTheEnd }

    /// The agent ends.
    func hurry() {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            guard state.left == nil else { return state.waiting }
            (state.left, state.end) = (atTheEnd, .now)
            return state.waiting
        }
        for each in waiting.values { each.finish() }
    }

    /// - Throws: what `connect` throws; `PostgresError` `timedOut` when the agent ends meanwhile.
    func connect<T: Sendable>(_ connect: @escaping @Sendable () async throws -> T) async throws -> T {
        let begin = ContinuousClock.now
        return try await withThrowingTaskGroup(of: T?.self) { group in
            group.addTask { try await connect() }
            group.addTask {
                try await self.isOver(since: begin)
                return nil
            }
            defer { group.cancelAll() }
            guard let made = try await group.next() ?? nil else {
                throw PostgresError(.timedOut, message: "the server did not answer, and the agent ends")
            }
            return made
        }
    }

    private func isOver(since begin: ContinuousClock.Instant) async throws {
        await hurried()
        // One that was under way before has as long as one that is begun at the end.
        let deadline = state.withLock { max(begin, $0.end) + max($0.left ?? .zero, Self.least) }
        try await Task.sleep(until: deadline, clock: .continuous)
        // One that came in time has cancelled this.
        state.withLock { $0.left = .zero }
    }

    private func hurried() async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let number = state.withLock { state -> Int? in
            guard state.left == nil else { return nil }
            state.number += 1
            state.waiting[state.number] = continuation
            return state.number
        }
        guard let number else { return }
        for await _ in stream {}
        state.withLock { $0.waiting[number] = nil }
    }
}

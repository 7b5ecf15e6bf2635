package import Ledger
import Log
package import Logging
package import Shell

/// Writes what must not be lost: how a run or a deployment ended.
///
/// A failed write is tried again, up to a minute, unless the record refuses it for good; cancellation does not reach it. While
/// the record cannot be reached, what has happened is kept in the spool from the first failure on, so that it outlives the agent.
package struct LedgerWriter: Sendable {
    package let ledger: any LedgerStore
    package let spool: Spool
    package let logger: Logger
    /// Once requested, what is kept is not waited for.
    package let stop: StopSignal?

    package init(ledger: any LedgerStore, spool: Spool, logger: Logger, stop: StopSignal?) {
        self.ledger = ledger
        self.spool = spool
        self.logger = logger
        self.stop = stop
    }

    package static let delays: [Duration] = [
        .milliseconds(100), .milliseconds(400), .seconds(2), .seconds(5), .seconds(10), .seconds(20), .seconds(20),
    ]

    /// The same time in all, in pauses of at most so long.
    private static func delays(atMost longest: Duration) -> [Duration] {
        delays.flatMap { delay in
            delay <= longest ? [delay] : Array(repeating: longest, count: Int((delay / longest).rounded(.up)))
        }
    }

    /// - Returns: the runs that began.
    /// - Throws: `LedgerError` when the last attempt failed too, and a run was to begin or the entries could not be kept.
    @discardableResult
    package func write(_ entries: [LedgerEntry]) async throws -> [Run] {
        guard !entries.isEmpty else { return [] }
        let begins = entries.filter { if case .beginRun = $0 { true } else { false } }
        let happened = entries.filter { if case .beginRun = $0 { false } else { true } }
        return try await insisting { isKept in
            try await spool.deliver(to: ledger)
            let left = isKept ? begins : entries
            return left.isEmpty ? [] : try await ledger.write(left)
        } keeping: {
            happened.isEmpty ? nil : Spool.Batch(ledger: $0, entries: happened)
        } orElse: {
            begins.isEmpty ? [] : nil
        }
    }

    /// Writes how a run under a lease ended.
    ///
    /// - Returns: how often the work has failed; nil when the lease has passed on.
    /// - Throws: `LedgerError` when the last attempt failed too. The result is kept, and counts if its lease is still current
    ///   when it is delivered.
    package func complete(_ result: ClaimResult, in store: any LeaseStore) async throws -> Int? {
        // Soon after the record is back: the lease may not last much longer.
        try await insisting(atMost: .seconds(1)) { _ in
            // Before the spool is emptied, which tells nobody of failures; once more from there it does no harm.
            let failures = try await store.complete(result)
            try await spool.deliver(to: ledger)
            return failures
        } keeping: {
            Spool.Batch(ledger: $0, claim: result)
        } orElse: {
            nil
        }
    }

    /// Asks the record for something before a hook or a task starts, which needs it: with growing pauses until it answers.
    ///
    /// - Parameters:
    ///   - longest: the longest pause.
    ///   - limit: no attempt begins later. One against a server that swallows everything may take long by itself.
    /// - Throws: `LedgerError` when the last attempt failed too, when it does not get better by itself, or a stop is requested.
    package func ask<T: Sendable>(
        atMost longest: Duration = .seconds(20), within limit: Duration = .seconds(60),
        _ question: @escaping @Sendable () async throws -> T
    ) async throws -> T {
        try await insisting(atMost: longest, within: limit, unlessFinal: true) { _ in
            try await question()
        } keeping: { _ in
            nil
        } orElse: {
            nil
        }
    }

    /// - Parameters:
    ///   - longest: the longest pause between two attempts; shorter ones make more attempts.
    ///   - limit: no attempt begins later.
    ///   - unlessFinal: whether what does not get better by itself is an answer.
    ///   - attempt: is told whether what has happened is in the spool by now.
    ///   - keeping: what is to be kept after the first failure, for the record of that identity.
    ///   - orElse: what to return when all attempts failed and it is kept; nil to throw.
    private func insisting<T: Sendable>(
        atMost longest: Duration = .seconds(20), within limit: Duration = .seconds(60), unlessFinal: Bool = false,
        _ attempt: @escaping @Sendable (_ isKept: Bool) async throws -> T,
        keeping: @escaping @Sendable (String) -> Spool.Batch?, orElse: @escaping @Sendable () -> T?
    ) async throws -> T {
        // The shield: on a cancelled task every write of the store throws.
        try await Task {
            var isKept = false
            var delays = Self.delays(atMost: longest)[...]
            let deadline = ContinuousClock.now + limit
            var said: String?
            while true {
                do {
                    return try await attempt(isKept)
                } catch let error as LedgerError {
                    if error.isTransient, !isKept, let identity = try? await ledger.identity(),
                        let batch = keeping(identity)
                    {
                        isKept = spool.keep(batch) != nil
                    }
                    let isOver =
                        delays.isEmpty || .now + delays[delays.startIndex] > deadline || error.isForGood
                        || (unlessFinal && error.isFinal)
                        || (stop?.isRequested == true && error.isTransient)
                    if isOver, isKept {
                        logger.warning("\(error); what happened is kept and delivered once it can be reached")
                        if let result = orElse() { return result }
                    }
                    guard !isOver, let delay = delays.popFirst() else { throw error }
                    let text = "\(error); trying again in \(DurationText.text(delay))"
                    if text != said { logger.warning("\(text)") }
                    said = text
                    if let stop { await pause(delay, stop) } else { try await Task.sleep(for: delay) }
                }
            }
        }.value
    }
}

/// Waits so long, or until a stop is requested.
package func pause(_ time: Duration, _ stop: StopSignal) async {
    await withTaskGroup(of: Void.self) { group in
        group.addTask { try? await Task.sleep(for: time) }
        group.addTask { await stop.requested() }
        await group.next()
        group.cancelAll()
    }
}

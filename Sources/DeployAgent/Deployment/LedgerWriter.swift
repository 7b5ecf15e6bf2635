import Ledger
import Logging

/// Writes what must not be lost: how a run or a deployment ended.
///
/// A failed write is tried again, up to a minute; cancellation does not reach it.
struct LedgerWriter: Sendable {
    let ledger: any LedgerStore
    let logger: Logger

    static let delays: [Duration] = [
        .milliseconds(100), .milliseconds(400), .seconds(2), .seconds(5), .seconds(10), .seconds(20), .seconds(20),
    ]

    /// - Throws: `LedgerError` when the last attempt failed too. The entries are then not in the record.
    @discardableResult
    func write(_ entries: [LedgerEntry]) async throws -> [Run] {
        guard !entries.isEmpty else { return [] }
        let (ledger, logger) = (ledger, logger)
        // The shield: on a cancelled task every write of the store throws.
        return try await Task {
            for delay in Self.delays {
                do {
                    return try await ledger.write(entries)
                } catch {
                    logger.warning("\(error); trying again in \(DurationText.text(delay))")
                    try await Task.sleep(for: delay)
                }
            }
            return try await ledger.write(entries)
        }.value
    }
}

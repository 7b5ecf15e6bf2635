import GRDB
public import Ledger
import Threads

/// The embedded ledger: one SQLite file in WAL mode, one connection, every commit synced to disk.
///
/// Several processes may have the same file open; a writer waits up to 5 seconds for another. Statements run on a thread of
/// the ledger's own, never on the cooperative pool, and not where the system may have no thread when they are due.
public struct SQLiteLedger: LedgerStore {
    let queue: DatabaseQueue
    let path: String
    private let lane: Lane

    /// Closes the file and ends the thread with the last copy of the ledger.
    private final class Lane: Sendable {
        let thread: WorkerThread
        private let queue: DatabaseQueue

        init(_ thread: WorkerThread, _ queue: DatabaseQueue) {
            self.thread = thread
            self.queue = queue
        }

        deinit {
            try? queue.close()
            thread.close {}
        }
    }
    private let place: SQLitePlace

    /// Opens the file and brings its tables up to date, or creates it.
    ///
    /// A file that is damaged, of a version that is not worked with, or of another program is reported and never changed.
    /// - Parameter newer: is told of a newer version that is worked with.
    /// - Throws: `LedgerError`.
    public init(path: String, newer: (Int) -> Void = { _ in }) throws {
        self.path = path
        let thread: WorkerThread
        do {
            thread = try WorkerThread(name: "ledger")
        } catch {
            throw LedgerError(.unreachable, operation: "open", location: path, explanation: "\(error)")
        }
        do {
            queue = try LedgerError.reporting("open", path) { try SQLiteFile.open(path, newer: newer) }
        } catch {
            thread.close {}
            throw error
        }
        lane = Lane(thread, queue)
        place = SQLitePlace(path)
    }

    public var isInPlace: Bool { place.isAsItWas }

    public func hurry() {}

    public var isShared: Bool { false }

    public func identity() async throws -> String { "sqlite:\(path)" }

    public func close() {
        try? queue.close()
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await LedgerError.reporting("read", path) { [queue] in
            try await lane.thread.run { try queue.read(body) }
        }
    }

    /// Reads outside of a transaction.
    func unsafeRead<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await LedgerError.reporting("read", path) { [queue] in
            try await lane.thread.run { try queue.unsafeRead(body) }
        }
    }

    /// Writes where others find it.
    func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        guard isInPlace else {
            throw LedgerError(
                .replaced, operation: "write", location: path,
                explanation: "it was removed or replaced since it was opened; what was under way is not on record")
        }
        return try await writeAnywhere(body)
    }

    /// Writes also to a file that was removed or replaced.
    func writeAnywhere<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await LedgerError.reporting("write", path) { [queue] in
            try await lane.thread.run { try queue.write(body) }
        }
    }
}

import GRDB
public import Ledger

/// The embedded ledger: one SQLite file in WAL mode, one connection, every commit synced to disk.
///
/// Several processes may have the same file open; a writer waits up to 5 seconds for another. Statements run on GRDB's
/// own queue, never on the cooperative pool.
public struct SQLiteLedger: LedgerStore {
    let queue: DatabaseQueue
    let path: String

    /// Opens the file and brings its tables up to date, or creates it.
    ///
    /// A file that is damaged, of a newer version or of another program is reported and never changed.
    /// - Throws: `LedgerError`.
    public init(path: String) throws {
        self.path = path
        queue = try LedgerError.reporting("open", path) { try SQLiteFile.open(path) }
    }

    public var isShared: Bool { false }

    public func identity() async throws -> String { "sqlite:\(path)" }

    public func close() {
        try? queue.close()
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await LedgerError.reporting("read", path) { try await queue.read(body) }
    }

    func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try await LedgerError.reporting("write", path) { try await queue.write(body) }
    }
}

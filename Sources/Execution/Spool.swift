import FoundationEssentials
import Glibc
package import Ledger
package import Logging
import Shell
import Synchronization

/// What the record was to be told while it could not be reached: one file a batch, on the disk before it counts, delivered in
/// order by whichever agent reaches the record first.
package final class Spool: Sendable {
    /// What belongs together.
    package struct Batch: Sendable {
        /// Which record it is for, as `LedgerStore.identity` has it.
        package var ledger: String
        package var entries: [LedgerEntry] = []
        /// The end of a run for the whole fleet, which counts only while its lease is still current.
        package var claim: ClaimResult?
    }

    private let folder: String
    private let logger: Logger
    /// Batches that wait, named once in the log.
    private let named = Mutex<Set<String>>([])

    package init(folder: String, logger: Logger) {
        self.folder = folder
        self.logger = logger
    }

    /// Keeps a batch.
    ///
    /// - Returns: its file; nil when it could not be kept.
    package func keep(_ batch: Batch) -> String? {
        guard let data = try? SpoolFormat.data(batch) else { return nil }
        mkdir(folder, 0o700)
        let last = files().last.flatMap { Int($0.prefix { $0 != "-" }) } ?? 0
        let number = String(last + 1)
        let padding = String(repeating: "0", count: max(0, 12 - number.count))
        // The rest keeps two that are kept at once apart.
        let path = "\(folder)/\(padding)\(number)-\(Runner.newMarker()).json"
        guard TextFile.writeDurably(Array(data), to: path) else {
            logger.error("cannot keep what the record is to be told in \(path): \(errorText(errno))")
            unlink(path + ".new")
            return nil
        }
        return path
    }

    /// Writes what was kept for this record, oldest first.
    ///
    /// - Throws: `LedgerError`; what was not written is kept.
    package func deliver(to ledger: any LedgerStore) async throws {
        let files = files()
        if files.isEmpty { return }
        let identity = try await ledger.identity()
        for file in files {
            let path = "\(folder)/\(file)"
            let batch: Batch
            do throws(SpoolFormat.Problem) {
                batch = try read(path)
            } catch {
                // Else somebody of this process has just delivered it.
                if access(path, F_OK) == 0, named.withLock({ $0.insert(path).inserted }) { say(error, of: path) }
                continue
            }
            guard batch.ledger == identity else {
                if named.withLock({ $0.insert(path).inserted }) {
                    logger.warning(
                        "\(path) is for another record (\(batch.ledger)) and waits until that one is used again")
                }
                continue
            }
            do {
                try await deliver(batch, to: ledger)
            } catch let error as LedgerError
                where error.code == .refused || (batch.claim?.task != nil && !error.isTransient)
            {
                // What the record or a table of tasks does not take must not hold up all else.
                if named.withLock({ $0.insert(path).inserted }) {
                    let task = batch.claim?.task.map { "task \($0): " } ?? ""
                    logger.error("\(path) cannot be delivered and waits: \(task)\(error)")
                }
                continue
            }
            unlink(path)
            logger.notice("delivered to the record what was kept while it could not be reached")
        }
    }

    private func deliver(_ batch: Batch, to ledger: any LedgerStore) async throws {
        if let claim = batch.claim, try await ledger.complete(claim) == nil {
            logger.warning(
                "the result of run \(claim.run) (\(claim.result.status.rawValue)) is not recorded: its lease (fence \(claim.lease.fence)) has passed on"
            )
        }
        try await ledger.write(batch.entries)
    }

    private func read(_ path: String) throws(SpoolFormat.Problem) -> Batch {
        guard let bytes = TextFile.read(path, limit: 64 * 1024 * 1024) else { throw .unreadable }
        return try SpoolFormat.batch(Data(bytes))
    }

    private func say(_ problem: SpoolFormat.Problem, of path: String) {
        switch problem {
        case .newer(let version):
            logger.error(
                "\(path) is of a later agent (form \(version), this one reads up to \(SpoolFormat.version)) and waits for one; until then what it says is not on record"
            )
        case .unreadable: logger.error("\(path) cannot be read and is not delivered; remove it by hand")
        }
    }

    /// In the order in which they were kept.
    private func files() -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let item = readdir(directory) {
            let name = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".json") { names.append(name) }
        }
        return names.sorted()
    }
}

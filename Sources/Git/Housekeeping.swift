import Glibc

/// Bounds what a repository of the agent's own takes of the disk by what its refs, checkouts and indexes need.
///
/// What is needed may change whole with each commit, or hardly: so bytes are held against bytes. Whole packs are removed where
/// nothing of them is needed, which costs nothing; what is left is written anew only where a quarter of it is not needed.
struct Housekeeping {
    /// Path of the repository's own folder (`.git`, or a bare repository).
    let folder: String
    let git: GitProgram

    private var operation: String { "tidy \(folder)" }
    private var packs: PackFolder { PackFolder(repository: folder) }

    /// Whether there is more than what is needed, a quarter of it, and what is not worth while.
    private static func isTooMuch(_ bytes: Int, beside needed: Int) -> Bool {
        bytes > needed + needed / 4 + smallBytes
    }

    private static let smallBytes = 64 * 1024
    /// A git looks into each of them.
    private static let mostPacks = 20
    /// In packs; above that they are written anew rather than looked through in memory.
    private static let mostListed = 1_000_000

    // MARK: - What is there

    /// Bytes on the disk of objects that are not in a pack, and their number.
    private func loose() -> (count: Int, bytes: Int) {
        var result = (count: 0, bytes: 0)
        for number in 0..<256 {
            let name = "\(folder)/objects/\(number < 16 ? "0" : "")\(String(number, radix: 16))"
            for object in (try? entries(of: name)) ?? [] {
                var info = stat()
                guard lstat("\(name)/\(object)", &info) == 0 else { continue }
                result = (result.count + 1, result.bytes + Int(info.st_blocks) * 512)
            }
        }
        return result
    }

    /// Bytes of all objects, without the indexes of packs.
    private func bytes() -> Int { packs.all().reduce(loose().bytes) { $0 + $1.bytes } }

    /// Bytes of what no other repository has as the same file.
    private func ownBytes() -> Int { packs.all().filter { !$0.isShared }.reduce(loose().bytes) { $0 + $1.bytes } }

    /// Whether there is enough to look at what of it is needed.
    var isWorthWhile: Bool { ownBytes() > Self.smallBytes }

    /// Whether more has come since the last look than a deployment leaves: commits that were fetched and not deployed.
    func hasGrown() -> Bool {
        guard let note = NeededNote.read(in: folder) else { return false }
        return Self.isTooMuch(bytes(), beside: note.bytes)
    }

    // MARK: - What is needed

    /// Lists what git itself keeps: by refs, the checkouts' HEADs and their history of it, and their indexes.
    private static let list = ["--no-replace-objects", "rev-list", "--objects"]
    private static let roots = ["--all", "--reflog", "--indexed-objects"]

    /// Bytes of what is needed, as it lies there; where nothing that was needed is needless by now, at least as many as at the
    /// last look, which is enough to know for `bytes`.
    private func needed(for bytes: Int) async throws -> Int {
        let noted = NeededNote.read(in: folder)
        if let noted, !Self.isTooMuch(bytes, beside: noted.bytes), await isAllNeededStill(noted) { return noted.bytes }
        guard let measured = try await measure() else { return noted?.bytes ?? 0 }
        try await note(measured)
        return measured
    }

    /// Nil for a git that cannot tell (before 2.31).
    private func measure() async throws -> Int? {
        let result = try await git.run(
            Self.list + ["--disk-usage"] + Self.roots, in: folder, operation: operation)
        if result.exitCode == Self.unknownOption { return nil }
        guard result.exitCode == 0,
            let bytes = Int(String(decoding: result.output, as: UTF8.self).filter { !$0.isWhitespace })
        else { throw result.error(.publish, operation) }
        return bytes
    }

    private static let unknownOption = 129

    private func note(_ bytes: Int) async throws {
        let heads = try await git.expect(
            ["rev-list", "--no-walk", "--all"], in: folder, operation: operation, code: .publish)
        NeededNote(bytes: bytes, commits: heads.output.split(separator: 10).map { String(decoding: $0, as: UTF8.self) })
            .write(in: folder)
    }

    /// Whether the commits that were needed at the last look lie in the history of those that are. Where it is whole this spares
    /// a walk through all of it; where it is cut there is little to walk through.
    private func isAllNeededStill(_ noted: NeededNote) async -> Bool {
        guard access(folder + "/shallow", F_OK) != 0, !noted.commits.isEmpty else { return false }
        let left = try? await git.run(
            ["rev-list", "--max-count=1"] + noted.commits + ["--not", "--all"], in: folder, operation: operation)
        return left?.exitCode == 0 && left?.output.isEmpty == true
    }

    private func neededObjects() async throws -> Set<ObjectName> {
        let list = try await git.expect(
            Self.list + ["--no-object-names"] + Self.roots, in: folder, operation: operation,
            code: .publish)
        return Set(list.output.split(separator: 10).compactMap { ObjectName(hex: $0) })
    }

    // MARK: - Removing

    /// Removes what is not needed, where it is worth while.
    ///
    /// Cost: with a history that is cut a walk through the trees of the commits that are kept, each time.
    /// - Throws: `GitError`; whatever was removed by then, what is needed is there.
    ///
    /// - Parameter age: in seconds, of what a git left that is taken for a killed one's.
    func run(leftoversOlderThan age: Int = 0) async throws {
        packs.removeLeftovers(olderThan: age)
        let there = bytes()
        if try await Self.isTooMuch(there, beside: needed(for: there)) {
            try await removeNeedless()
            let left = bytes()
            if try await Self.isTooMuch(left, beside: needed(for: left)) { try await repack() }
        }
        let (count, _) = loose()
        guard packs.all().count > Self.mostPacks || count > 500 else { return }
        // Only the small ones are written anew, so that this costs little beside what came.
        try await prune()
        let joined = try await git.run(
            ["repack", "--geometric=2", "-d", "-q"], in: folder, operation: operation)
        // A git before 2.32.
        if joined.exitCode == Self.unknownOption { return try await repack() }
        guard joined.exitCode == 0 else { throw joined.error(.publish, operation) }
    }

    private func prune() async throws {
        try await git.expect(["prune", "--expire=now"], in: folder, operation: operation, code: .publish)
    }

    /// Removes loose objects and whole packs of which nothing is needed.
    private func removeNeedless(preferring isPreferred: (PackFolder.Pack) -> Bool = { _ in false }) async throws {
        try await prune()
        let all = packs.all()
        let indexes = all.map { packs.index(of: $0) }
        guard all.count > 1, indexes.reduce(0, { $0 + ($1?.count ?? 0) }) <= Self.mostListed else { return }
        var needed = try await neededObjects()
        // What two packs have is needed once: of the one that stays anyway, else of the larger one.
        let order = all.indices.sorted {
            let (first, second) = (isPreferred(all[$0]), isPreferred(all[$1]))
            return first == second ? all[$0].bytes > all[$1].bytes : first
        }
        for number in order {
            // One that cannot be read is git's to judge.
            guard let index = indexes[number] else { continue }
            var isNeeded = false
            index.forEach { if needed.remove($0) != nil { isNeeded = true } }
            if !isNeeded { try packs.remove(all[number]) }
        }
    }

    /// Writes what is needed to one pack, and removes the others.
    private func repack() async throws {
        let needed = try await needed(for: .max)
        let free = freeSpace(folder) ?? .max
        guard free > needed + needed / 8 else {
            throw GitError(
                .publish, operation: operation,
                explanation: "it takes \(needed >> 20) MiB for a time, and \(free >> 20) MiB are free; make room there")
        }
        // Deltas are looked for where they pay: nothing takes longer than to look for them among what cannot be compressed.
        try await git.expect(
            [
                "-c", "core.bigFileThreshold=16m", "-c", "pack.windowMemory=64m", "-c", "repack.writeBitmaps=false",
                "repack", "-a", "-d", "-q", "--window=4",
            ], in: folder, operation: operation, code: .publish)
        // It names commits that may be gone, and git takes that for damage.
        unlink(folder + "/objects/info/commit-graph")
        try removeTree(folder + "/objects/info/commit-graphs")
        try await note(measure() ?? bytes())
    }

    // MARK: - A checkout's own repository

    /// The same for the repository of a checkout that the agent made: what the store has, too, lies on the disk once.
    ///
    /// - Parameter store: what the checkout was published from; nil when it is not there.
    func run(sharing store: String?) async throws {
        // It may be a person's git that is at work.
        packs.removeLeftovers(olderThan: 600)
        guard isWorthWhile else { return }
        guard let store, packs.link(from: PackFolder(repository: store)) else {
            return try await run(leftoversOlderThan: 600)
        }
        let shared = Set(PackFolder(repository: store).all().map(\.name))
        try await removeNeedless { shared.contains($0.name) }
        try await git.expect(["prune-packed", "-q"], in: folder, operation: operation, code: .publish)
        let own = ownBytes()
        guard own > Self.smallBytes else { return }
        if try await Self.isTooMuch(own, beside: needed(for: own)) { try await repack() }
    }

    /// For what people may have there, by git's own measure. git keeps that for some weeks.
    func runWithCare() async throws {
        try await git.expect(
            ["-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--quiet", "--auto"], in: folder,
            operation: operation, code: .publish)
    }
}

/// What was needed at the last look: bytes, and the commits by which it was.
private struct NeededNote {
    var bytes: Int
    /// Full ids.
    var commits: [String]

    private static let name = "/agent-needed"
    /// More are not noted: those that a hook has made.
    private static let most = 64

    static func read(in folder: String) -> NeededNote? {
        guard let text = SmallFile.read(folder + name) else { return nil }
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
        guard let bytes = lines.first.flatMap({ Int($0) }) else { return nil }
        return NeededNote(bytes: bytes, commits: lines.dropFirst().map(String.init))
    }

    /// Nothing is lost without it but time.
    func write(in folder: String) {
        let lines = ["\(bytes)"] + (commits.count <= Self.most ? commits : [])
        let fresh = folder + Self.name + ".new"
        try? SmallFile.write(Array((lines.joined(separator: "\n") + "\n").utf8), to: fresh)
        rename(fresh, folder + Self.name)
    }
}

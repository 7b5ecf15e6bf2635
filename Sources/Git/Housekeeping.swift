import Glibc

/// Removes from a repository what no ref needs any more.
struct Housekeeping {
    /// Path of the repository's own folder (`.git`, or a bare repository).
    let folder: String
    let git: GitProgram

    /// Number and bytes of objects that are not in a pack.
    private var loose: (count: Int, bytes: Int) {
        var result = (count: 0, bytes: 0)
        for number in 0..<256 {
            let name = "\(folder)/objects/\(number < 16 ? "0" : "")\(String(number, radix: 16))"
            for object in (try? entries(of: name)) ?? [] {
                var info = stat()
                guard lstat("\(name)/\(object)", &info) == 0 else { continue }
                result = (result.count + 1, result.bytes + Int(info.st_size))
            }
        }
        return result
    }

    /// What they were after the last look at which of them are needed, as a symbolic link that leads nowhere.
    private var note: String { folder + "/agent-loose" }

    /// Whether it is worth while to look again: git's own measure is a guess from one folder of 256, which lets hundreds of
    /// deployments lie.
    /// The first time it is only noted what there is.
    func isDue() -> Bool {
        let (count, bytes) = loose
        let before = (link(note) ?? "").split(separator: "-").compactMap { Int($0) }
        guard before.count == 2 else {
            noteLoose(count, bytes)
            return false
        }
        let packs = ((try? entries(of: folder + "/objects/pack")) ?? []).count { $0.hasSuffix(".pack") }
        return packs > 20 || count > before[0] + 32 || bytes > before[1] + before[1] / 4 + 128 * 1024
    }

    private func noteLoose(_ count: Int, _ bytes: Int) {
        unlink(note)
        symlink("\(count)-\(bytes)", note)
    }

    /// For when it is due.
    func run() async {
        let operation = "tidy \(folder)"
        _ = try? await git.run(["prune", "--expire=now"], in: folder, operation: operation)
        let (count, bytes) = loose
        noteLoose(count, bytes)
        _ = try? await git.run(
            [
                "-c", "gc.auto=500", "-c", "gc.autoPackLimit=20", "-c", "gc.autoDetach=false", "-c",
                "gc.pruneExpire=now", "gc", "--quiet", "--auto",
            ], in: folder, operation: operation)
    }

    /// The same by git's own measure: for what people may have there. git keeps that for some weeks.
    func runWithCare() async throws {
        try await git.expect(
            ["-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--quiet", "--auto"], in: folder,
            operation: "tidy \(folder)", code: .publish)
    }

    /// Lets go of the commits that a checkout was at before, where it has only ever been moved by us: nobody made a branch,
    /// a tag, a stash or a commit.
    ///
    /// - Returns: whether that is so.
    func forgetEarlierCommits() async -> Bool {
        let operation = "tidy \(folder)"
        let log = folder + "/logs/HEAD"
        guard let refs = try? await git.run(["for-each-ref", "--count=1"], in: folder, operation: operation),
            refs.exitCode == 0, refs.output.isEmpty
        else { return false }
        if kind(of: log) == .missing { return true }
        // A line of ours: `OLD NEW NAME <MAIL> TIME ZONE`, a tab, `checkout: moving from OLD to NEW`.
        guard let text = SmallFile.read(log, limit: 1 << 20), text.count < 1 << 20,
            String(decoding: text, as: UTF8.self).split(separator: "\n").allSatisfy({
                $0.contains("\tcheckout: moving from ")
            })
        else { return false }
        unlink(log)
        return true
    }
}

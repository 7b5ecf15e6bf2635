import Glibc

/// What tells a checkout that the agent made, and that nobody has worked in, from somebody's own.
struct UntouchedCheckout {
    /// Path of its repository's folder.
    let folder: String
    let git: GitProgram

    /// - Returns: nil where it is somebody's, or cannot be told.
    init?(_ workspace: Workspace, _ git: GitProgram) async {
        guard let folders = try? await workspace.repository.gitFolders(), folders.own == folders.common,
            await CheckoutOrigin.isNoted(in: workspace.repository)
        else { return nil }
        (folder, self.git) = (folders.common, git)
        guard await hasNoRefs(), Self.hasOnlyMoved(folder) else { return nil }
    }

    /// Nobody made a branch, a tag or a stash.
    private func hasNoRefs() async -> Bool {
        let refs = try? await git.run(["for-each-ref", "--count=1"], in: folder, operation: "look at \(folder)")
        return refs?.exitCode == 0 && refs?.output.isEmpty == true
    }

    private static let log = "/logs/HEAD"

    /// Whether nobody made a commit, by git's log of where HEAD was.
    ///
    /// - Parameter folder: path of the repository's folder.
    static func hasOnlyMoved(_ folder: String) -> Bool {
        let log = folder + log
        if kind(of: log) == .missing { return true }
        // A line of ours: `OLD NEW NAME <MAIL> TIME ZONE`, a tab, `checkout: moving from OLD to NEW`.
        guard let text = SmallFile.read(log, limit: 1 << 20), text.count < 1 << 20 else { return false }
        return String(decoding: text, as: UTF8.self).split(separator: "\n").allSatisfy {
            $0.contains("\tcheckout: moving from ")
        }
    }

    /// Lets go of the commits that it was at before, if there are some.
    func forgetEarlierCommits() {
        let log = folder + Self.log
        let lines = SmallFile.read(log, limit: 1 << 20)?.count { $0 == UInt8(ascii: "\n") } ?? 0
        if lines > 1 { unlink(log) }
    }
}

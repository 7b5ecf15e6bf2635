import Glibc

/// The releases of a workspace that is a symbolic link: each a checkout of its own, the link moved by one rename.
///
/// Whoever reads through the link sees one release or the next one, never a mixture of both. Only the holder of the
/// workspace's lock may call what changes something.
public struct Releases: Sendable {
    private let store: CommitStore
    /// The workspace.
    private let workspace: String
    /// Whether a symbolic link of somebody's may be replaced by the agent's.
    private let adoptsLink: Bool

    public init(of store: CommitStore, workspace: String, adoptsLink: Bool = false) {
        self.store = store
        self.workspace = workspace
        self.adoptsLink = adoptsLink
    }

    // MARK: - The link

    /// The release that a path links to; nil when it is no symbolic link that an agent made.
    public static func target(of path: String) -> (commit: String, isThere: Bool)? {
        guard let target = link(path), let name = name(in: target) else { return nil }
        let isThere = isFolder(path)
        // Other tools have such folders, too.
        guard !isThere || link(note(of: folder(target, of: path).dropLast(name.count + 1))) != nil else { return nil }
        return (String(name.prefix(40)), isThere)
    }

    /// Where a link leads that says this.
    private static func folder(_ target: String, of path: String) -> String {
        target.hasPrefix("/") ? target : "/\(path.split(separator: "/").dropLast().joined(separator: "/"))/\(target)"
    }

    /// The release's name at the end of a path; nil when that is no release's.
    private static func name(in path: String) -> Substring? {
        let parts = path.split(separator: "/")
        guard parts.count >= 2, parts[parts.count - 2] == "releases", let name = parts.last, Release.isName(name) else {
            return nil
        }
        return name
    }

    /// The workspace that a path within a state directory is a release of; nil when it is none.
    public static func workspace(of path: String) -> String? {
        guard let name = name(in: path) else { return nil }
        return link(note(of: path.dropLast(name.count + 1)))
    }

    /// A link beside the folder of the releases that says which workspace they are of.
    private static func note(of releases: some StringProtocol) -> String { releases + ".of" }

    /// The release that the link points to; nil when there is no link, or it leads to another state directory.
    public func live() -> Release? {
        guard let name = link(workspace).flatMap(Self.name(in:)) else { return nil }
        let release = Release(String(name), in: store)
        var (own, linked) = (stat(), stat())
        // By what it is, not by its path: that may be written in two ways.
        guard stat(release.path, &own) == 0 else { return isOwnPath(link(workspace)) ? release : nil }
        return stat(workspace, &linked) == 0 && own.st_ino == linked.st_ino && own.st_dev == linked.st_dev
            ? release : nil
    }

    /// What the link says where it leads to a release that is there, of another state directory; nil where it does not.
    public func linkElsewhere() -> String? {
        guard Self.target(of: workspace)?.isThere == true, let target = link(workspace) else { return nil }
        var (own, linked) = (stat(), stat())
        guard stat(Self.folder(target, of: workspace) + "/..", &linked) == 0 else { return nil }
        return stat(store.releases, &own) == 0 && own.st_ino == linked.st_ino && own.st_dev == linked.st_dev
            ? nil : target
    }

    private func isOwnPath(_ target: String?) -> Bool {
        guard let target else { return false }
        return target.hasPrefix("/") ? target.hasPrefix(store.releases + "/") : true
    }

    /// Makes the workspace a link to a release that is complete, by one rename.
    ///
    /// - Throws: `GitError` `notACheckout` when something else stands at the workspace's path.
    public func publish(_ release: Release) throws {
        let operation = "publish \(release.commit.prefix(12)) to \(workspace)"
        switch kind(of: workspace) {
        case .missing: makeFolders(parent)
        case .link where adoptsLink || Self.target(of: workspace) != nil: break
        default:
            throw GitError(.notACheckout, operation: operation, explanation: "\(workspace) \(Workspace.notALink)")
        }
        if let before = live(), before != release { try before.markReplaced() }
        let fresh = Self.beside(workspace)
        try removeTree(fresh)
        guard symlink(target(release), fresh) == 0 else { throw fileFailure("\(operation): make a link in \(parent)") }
        guard rename(fresh, workspace) == 0 else {
            let failure = fileFailure(operation)
            unlink(fresh)
            throw failure
        }
        guard let folder = OpenFolder(path: parent), fsync(folder.descriptor) == 0 else { throw fileFailure(operation) }
    }

    private var parent: String {
        let parent = workspace.split(separator: "/").dropLast().joined(separator: "/")
        return "/" + parent
    }

    /// Where what takes a path's place is made.
    static func beside(_ path: String) -> String {
        let parts = path.split(separator: "/")
        return "/" + (parts.dropLast() + [".\(parts.last ?? "workspace").agent-new"]).joined(separator: "/")
    }

    /// What the link says. Relative where the state lies below the link's own folder: a volume that holds both may be
    /// mounted elsewhere by those who read.
    private func target(_ release: Release) -> String {
        let base = parent == "/" ? "/" : parent + "/"
        return base != "/" && release.path.hasPrefix(base) ? String(release.path.dropFirst(base.count)) : release.path
    }

    // MARK: - Releases

    /// Checks a commit out to a new release, which is not complete yet.
    public func make(_ commit: String, submodules: [Submodule] = [], _ git: GitProgram) async throws -> Release {
        let git = git.withLargeFiles(of: store)
        mkdir(store.releases, 0o755)
        symlink(workspace, Self.note(of: store.releases))
        let release = free(commit)
        try release.remove()
        try await writingToDisk(store.releases) {
            try await store.addCheckout(commit, name: release.name, at: release.path, git)
            try await store.checkOut(submodules, name: release.name, below: release.path, git)
        }
        return release
    }

    /// A name that neither the link nor a release that was completed has: that may be needed, or be read still.
    private func free(_ commit: String) -> Release {
        let live = live()
        var release = Release(commit, in: store)
        var number = 1
        while release == live || release.isReady {
            number += 1
            release = Release("\(commit).\(number)", in: store)
        }
        return release
    }

    /// The newest release of a commit that is complete and unchanged; nil when there is none.
    public func kept(_ commit: String, _ git: GitProgram) async -> Release? {
        let all = (try? entries(of: store.releases)) ?? []
        let own = all.filter { Release.isName($0) && $0.hasPrefix(commit) }.map { Release($0, in: store) }
        for release in own.sorted(by: { $0.readyAt > $1.readyAt }) where await release.isSound(git) { return release }
        return nil
    }

    /// Takes what lies in a release as what it is; from then on it may be published.
    ///
    /// - Parameter isAsMade: whether nobody has had it to change it.
    public func complete(_ release: Release, isAsMade: Bool = false, _ git: GitProgram) async throws {
        try await release.complete(isAsMade: isAsMade, git)
    }

    /// Removes a release that is not published.
    public func discard(_ release: Release) throws {
        guard live() != release else { return }
        try release.removeUnlessHeld()
    }

    /// Removes releases that a killed agent had not completed, with what their hooks have configured.
    public func discardUnfinished() throws {
        for name in try entries(of: store.releases).filter(Release.isName) {
            let release = Release(name, in: store)
            // Without what the store keeps of it, it was made from another store.
            if isFolder(release.administration), !release.isReady { try discard(release) }
        }
    }

    /// Removes releases that nobody needs: those never completed, and replaced ones but for the newest. One in which a command
    /// runs stays until the next time.
    ///
    /// - Parameters:
    ///   - keep: how many replaced ones stay.
    ///   - grace: how long a replaced one stays at least.
    ///   - wayBack: the commit whose newest release stays beside those.
    /// - Throws: `GitError` when one cannot be removed; the others are removed all the same.
    public func prune(keep: Int, grace: Duration, wayBack: String? = nil) throws {
        let live = live()
        let all = try notLive()
        let youngest = FileTime.now.total - grace / .seconds(1)
        let replaced = Self.replaced(all)
        let kept = Set(Self.kept(of: replaced, keep, wayBack).map(\.name))
            .union(replaced.filter { ($0.replacedAt ?? 0) > youngest }.map(\.name))
        var failure: (any Error)?
        // What a git or an agent left that was killed between a folder and what the store keeps of it, too.
        let known = Set(try entries(of: store.releases))
        let orphans = try entries(of: store.path + "/worktrees").filter { Release.isName($0) && !known.contains($0) }
        let here = Set(all.map(\.name)).union(live.map { [$0.name] } ?? [])
        for inner in store.submoduleStores {
            for name in try entries(of: inner.path + "/worktrees") where Release.isName(name) && !here.contains(name) {
                try removeTree("\(inner.path)/worktrees/\(name)")
            }
        }
        for release in all.filter({ !kept.contains($0.name) }) + orphans.map({ Release($0, in: store) })
        where release != live {
            do { try release.removeUnlessHeld() } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// When `prune` has something to remove again, in seconds since 1970; nil when that is not before something else is
    /// published. It may be over already.
    public func nextEnd(keep: Int, grace: Duration, wayBack: String? = nil) throws -> Double? {
        let replaced = Self.replaced(try notLive())
        let kept = Set(Self.kept(of: replaced, keep, wayBack).map(\.name))
        return replaced.filter { !kept.contains($0.name) }.compactMap(\.replacedAt).min().map {
            $0 + grace / .seconds(1)
        }
    }

    private func notLive() throws -> [Release] {
        let live = live()
        return try entries(of: store.releases).filter(Release.isName).map { Release($0, in: store) }
            .filter { $0 != live }
    }

    /// Those that were live once, the newest first.
    private static func replaced(_ releases: [Release]) -> [Release] {
        releases.filter { $0.isReady && $0.replacedAt != nil }.sorted { ($0.replacedAt ?? 0) > ($1.replacedAt ?? 0) }
    }

    /// Those that stay however long ago they were replaced.
    private static func kept(of replaced: [Release], _ keep: Int, _ wayBack: String?) -> [Release] {
        Array(replaced.prefix(keep)) + (replaced.first { $0.commit == wayBack }.map { [$0] } ?? [])
    }
}

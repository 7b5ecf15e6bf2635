import Glibc

/// A repository inside a commit's (gitsubmodules(7)), fetched into a store of its own.
public struct Submodule: Sendable {
    /// Where it lies, relative to the root of the commit that names it.
    public let path: String
    public let commit: String
    let store: CommitStore
    /// Without user and password.
    let url: String
    /// Those of its own commit.
    let inner: [Submodule]
}

/// What a commit says of the repositories inside it; nothing is fetched for that.
struct SubmoduleEntry {
    let path: String
    let commit: String
    /// As `.gitmodules` has it; nil where that does not name the path.
    let url: String?

    private static let listLimit = 1 << 20

    /// - Throws: `GitError` `corrupt` when the commit cannot be read.
    static func all(of commit: String, in store: CommitStore, _ git: GitProgram) async throws -> [SubmoduleEntry] {
        // In-process: hardly any commit has some.
        guard try await store.repository.file(".gitmodules", in: commit, limit: listLimit) != nil else { return [] }
        let operation = "read the submodules of \(commit.prefix(12))"
        let settings = try await git.run(
            ["config", "-z", "--blob", "\(commit):.gitmodules", "--get-regexp", "^submodule\\..*\\.(path|url)$"],
            in: store.path, operation: operation)
        // 1 is for a file that names none.
        guard settings.exitCode <= 1 else { throw settings.error(.corrupt, operation) }
        var paths: [String: String] = [:]
        var urls: [String: String] = [:]
        for entry in settings.output.entriesEndingInNUL {
            let text = String(decoding: entry, as: UTF8.self)
            guard let end = text.firstIndex(of: "\n") else { continue }
            let (key, value) = (text[..<end], String(text[text.index(after: end)...]))
            if key.hasSuffix(".path") { paths[String(key.dropLast(5))] = value }
            if key.hasSuffix(".url") { urls[String(key.dropLast(4))] = value }
        }
        let urlsByPath = Dictionary(paths.map { ($1, urls[$0]) }) { $1 }
        let tree = try await git.expect(
            ["ls-tree", "-r", "-z", "--full-tree", commit], in: store.path, operation: operation, code: .corrupt)
        return tree.output.entriesEndingInNUL.compactMap { entry in
            guard entry.starts(with: "160000 ".utf8), let tab = entry.firstIndex(of: UInt8(ascii: "\t")) else {
                return nil
            }
            let fields = String(decoding: entry[..<tab], as: UTF8.self).split(separator: " ")
            let path = String(decoding: entry[(tab + 1)...], as: UTF8.self)
            guard fields.count == 3, isPath(path) else { return nil }
            return SubmoduleEntry(path: path, commit: String(fields[2]), url: urlsByPath[path] ?? nil)
        }
    }

    /// Whether it leads to a place inside the checkout. git itself makes no such entries, and checks none out.
    private static func isPath(_ path: String) -> Bool {
        path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
            !$0.isEmpty && $0 != "." && $0 != ".." && $0.lowercased() != ".git"
        }
    }
}

extension CommitStore {
    /// The store of the repository at a path of this one's commits.
    func submodule(_ path: String) -> CommitStore {
        CommitStore(folder: "\(submodules)/\(Self.folderName(path))", stage: stage + "/" + path)
    }

    /// The folder with the stores of the repositories inside this one's commits.
    private var submodules: String { String(path.dropLast("repo.git".count)) + "submodules" }

    /// Makes that folder, closed to other users: what a hook made of tracked files lies in there, too.
    func closeSubmodules() {
        mkdir(submodules, 0o700)
        chmod(submodules, 0o700)
    }

    /// A path as one name.
    private static func folderName(_ path: String) -> String {
        path.replacing("%", with: "%25").replacing("/", with: "%2F")
    }

    /// All that are there, also those inside others.
    var submoduleStores: [CommitStore] {
        ((try? entries(of: submodules)) ?? []).flatMap { name in
            let path = name.replacing("%2F", with: "/").replacing("%25", with: "%")
            let store = CommitStore(folder: "\(submodules)/\(name)", stage: stage + "/" + path)
            return [store] + store.submoduleStores
        }
    }

    /// Where it lies in a checkout of the store that it is inside of.
    func place(in outer: CommitStore) -> Substring { stage.dropFirst(outer.stage.count + 1) }

    /// Checks out the repositories inside a commit that was checked out.
    ///
    /// - Parameters:
    ///   - name: see `addCheckout`.
    ///   - root: where their parent was checked out.
    func checkOut(_ submodules: [Submodule], name: String, below root: String, _ git: GitProgram) async throws {
        for submodule in submodules {
            let target = root + "/" + submodule.path
            let own = git.withLargeFiles(of: submodule.store)
            try await submodule.store.addCheckout(submodule.commit, name: name, at: target, own)
            try await checkOut(submodule.inner, name: name, below: target, git)
        }
    }

    /// Keeps of large files and of the repositories inside commits what these need, and removes the rest.
    ///
    /// - Parameter commits: those of this store that are kept.
    /// - Throws: `GitError` when it cannot be found out what they need: then it is all kept; or what `tidy` throws.
    public func tidyContent(of commits: Set<String>, _ git: GitProgram) async throws {
        try await tidyLargeFiles(of: commits)
        let stores = submoduleStores
        guard !stores.isEmpty else { return }
        var needed: [String: Set<String>] = [:]
        for commit in commits { try await need(commit, in: self, &needed, git) }
        for store in stores {
            let releases = ((try? entries(of: store.path + "/worktrees")) ?? []).filter(Release.isName)
            guard let commits = needed[store.path] else {
                if releases.isEmpty { try? removeTree(String(store.path.dropLast("/repo.git".count))) }
                continue
            }
            for commit in commits { try? await store.keep(commit, and: commits, git) }
            // Of a checkout of an earlier version that was broken off.
            try? removeTree(String(store.path.dropLast("repo.git".count)) + "work")
            try await store.tidyLargeFiles(of: commits)
            try await store.tidy(git)
        }
    }

    private func need(
        _ commit: String, in store: CommitStore, _ needed: inout [String: Set<String>], _ git: GitProgram
    ) async throws {
        for entry in try await SubmoduleEntry.all(of: commit, in: store, git) where entry.url != nil {
            let inner = store.submodule(entry.path)
            // One that is not there was published without it.
            guard (try? await inner.repository.commit(entry.commit)) != nil else { continue }
            needed[inner.path, default: []].insert(entry.commit)
            try await need(entry.commit, in: inner, &needed, git)
        }
    }
}

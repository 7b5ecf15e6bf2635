import Glibc

/// A checkout that is the agent's alone and stays from run to run: what a hook configures there with git counts while it
/// runs, and no longer.
public struct OwnCheckout: Sendable {
    private let path: String
    /// Its commits are from there.
    private let store: CommitStore

    public init(_ workspace: Workspace, of store: CommitStore) {
        path = workspace.path
        self.store = store
    }

    /// Its git folder, and those of the repositories inside.
    private var gitFolders: [String] {
        guard let root = resolveFolder(".", below: path) else { return [] }
        // What a hook has put in a submodule's place may lead to other people's repositories.
        let places = store.submoduleStores.map { $0.place(in: store) }
            .filter { resolveFolder(String($0), below: path) == "\(root)/\($0)" }
        return ([path] + places.map { "\(path)/\($0)" }).map { $0 + "/.git" }.filter { kind(of: $0) == .folder }
    }

    /// The configuration as the agent has set it.
    private static let kept = "/agent-config"

    /// Takes what is configured now as what the agent has set.
    /// - Throws: `GitError` `publish`.
    public func keepConfiguration() throws {
        for folder in gitFolders {
            guard let set = SmallFile.read(folder + "/config"), SmallFile.read(folder + Self.kept) != set else {
                continue
            }
            try Self.put(set, folder + Self.kept)
        }
    }

    /// Sets back what is configured there.
    ///
    /// One that an earlier version has made does not say what the agent had set: of that the configuration is removed.
    /// - Throws: `GitError` `publish`.
    public func restoreConfiguration() throws {
        for folder in gitFolders {
            let file = folder + "/config"
            if let kept = SmallFile.read(folder + Self.kept) {
                if SmallFile.read(file) != kept { try Self.put(kept, file) }
            } else {
                unlink(file)
            }
            for name in ["config.worktree", "info/attributes", "info/grafts"] { unlink("\(folder)/\(name)") }
        }
    }

    private static func put(_ bytes: [UInt8], _ file: String) throws {
        // What a hook has put there is no place to write to.
        try removeTree(file + ".new")
        try SmallFile.write(bytes, to: file + ".new")
        guard rename(file + ".new", file) == 0 else { throw fileFailure("write \(file)") }
    }
}

import CLibgit2
import Glibc

/// Paths of files that differ between two commits: changed, added or removed; of a renamed one both. Those of submodules
/// are among them. Raw bytes, in order.
public struct ChangedFiles: Sendable, Equatable {
    public let paths: [[UInt8]]
    /// Those of them that are submodules.
    let submodules: Set<[UInt8]>

    public init(paths: [[UInt8]]) { self.init(paths: paths, submodules: []) }

    init(paths: [[UInt8]], submodules: Set<[UInt8]>) {
        (self.paths, self.submodules) = (paths, submodules)
    }

    /// Whether one of the paths matches, see `Pathspec`.
    public func contain(_ specs: [Pathspec]) -> Bool {
        let matcher = Pathspec.Matcher(specs)
        return paths.contains(where: matcher.matches)
            || submodules.contains { matcher.matches($0 + [UInt8(ascii: "/")]) }
    }

    /// Each path with a byte after it.
    public func list(endingIn end: UInt8) -> [UInt8] {
        paths.reduce(into: []) {
            $0 += $1
            $0.append(end)
        }
    }
}

extension Repository {
    /// Compares the trees of two commits; neither needs a history.
    ///
    /// - Parameter base: nil for a comparison with nothing, by which every file of the commit has changed.
    /// - Throws: `GitError` `corrupt` when one of them, or what it holds, is not there.
    public func changedFiles(from base: String?, to commit: String) async throws -> ChangedFiles {
        try await read { handle in
            try self.withTree(of: commit, handle) { new in
                guard let base else { return try self.difference(nil, new, handle) }
                return try self.withTree(of: base, handle) { old in try self.difference(old, new, handle) }
            }
        }
    }

    private func difference(
        _ old: OpaquePointer?, _ new: OpaquePointer, _ handle: OpaquePointer
    ) throws -> ChangedFiles {
        var options = git_diff_options()
        git_diff_options_init(&options, UInt32(GIT_DIFF_OPTIONS_VERSION))
        // By ids alone: no content is read.
        options.flags = GIT_DIFF_SKIP_BINARY_CHECK.rawValue | GIT_DIFF_INCLUDE_TYPECHANGE.rawValue
        var diff: OpaquePointer?
        guard git_diff_tree_to_tree(&diff, handle, old, new, &options) == 0, let diff else {
            throw Self.failure("compare two commits in \(path)")
        }
        defer { git_diff_free(diff) }
        var paths: [[UInt8]] = []
        var submodules: Set<[UInt8]> = []
        for index in 0..<git_diff_num_deltas(diff) {
            guard let delta = git_diff_get_delta(diff, index)?.pointee, let name = delta.new_file.path else { continue }
            let bytes = UnsafeBufferPointer(start: name, count: strlen(name)).map { UInt8(bitPattern: $0) }
            if paths.last != bytes { paths.append(bytes) }
            let modes = [delta.old_file.mode, delta.new_file.mode]
            if modes.contains(UInt16(GIT_FILEMODE_COMMIT.rawValue)) { submodules.insert(bytes) }
        }
        return ChangedFiles(paths: paths, submodules: submodules)
    }

    func withTree<T>(
        of commit: String, _ handle: OpaquePointer, _ body: (OpaquePointer) throws -> T
    ) throws -> T {
        try Self.withCommit(commit, handle, path) { commit in
            var tree: OpaquePointer?
            guard git_commit_tree(&tree, commit) == 0, let tree else { throw Self.failure("read \(path)") }
            defer { git_tree_free(tree) }
            return try body(tree)
        }
    }
}

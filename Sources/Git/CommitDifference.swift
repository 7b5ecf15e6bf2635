import CLibgit2
import Glibc

/// What a commit changes of a checkout at another one: by the ids of two trees, no content is read.
struct CommitDifference {
    /// A path that the commit brings, changes or removes.
    struct Change {
        let path: FileName
        /// Whether the commit has a file or a link there.
        let isWritten: Bool
        /// Whether that is a link.
        let isLink: Bool
        /// Bytes of what is written, as the commit keeps them; 0 where that is not known.
        let size: Int
    }

    private(set) var changes: [Change]
    /// Whether what is checked out could be read: otherwise every file of the commit counts as written.
    private(set) var isKnown = true

    init(changes: [Change]) { self.changes = changes }

    /// - Parameters:
    ///   - handle: of a repository that can read both.
    ///   - head: the commit that is checked out; nil when there is none.
    init(from head: String?, to commit: String, _ repository: Repository, _ handle: OpaquePointer) throws {
        changes = []
        var database: OpaquePointer?
        guard git_repository_odb(&database, handle) == 0, let database else {
            throw Repository.failure("read \(repository.path)")
        }
        defer { git_odb_free(database) }
        try repository.withTree(of: commit, handle) { new in
            do {
                guard let head else { return try add(nil, new, handle, database) }
                try repository.withTree(of: head, handle) { old in try add(old, new, handle, database) }
            } catch let error as GitError where error.code == .corrupt && head != nil {
                // Of a partial clone, or with a history that was cut.
                (changes, isKnown) = ([], false)
                try add(nil, new, handle, database)
            }
        }
    }

    private mutating func add(
        _ old: OpaquePointer?, _ new: OpaquePointer, _ handle: OpaquePointer, _ database: OpaquePointer
    ) throws {
        var options = git_diff_options()
        git_diff_options_init(&options, UInt32(GIT_DIFF_OPTIONS_VERSION))
        options.flags = GIT_DIFF_SKIP_BINARY_CHECK.rawValue | GIT_DIFF_INCLUDE_TYPECHANGE.rawValue
        var diff: OpaquePointer?
        guard git_diff_tree_to_tree(&diff, handle, old, new, &options) == 0, let diff else {
            throw Repository.failure("compare two commits")
        }
        defer { git_diff_free(diff) }
        for index in 0..<git_diff_num_deltas(diff) {
            guard let delta = git_diff_get_delta(diff, index)?.pointee, let name = delta.new_file.path else { continue }
            let mode = UInt32(delta.new_file.mode)
            let isWritten =
                delta.status != GIT_DELTA_DELETED && mode != GIT_FILEMODE_COMMIT.rawValue
                && mode != GIT_FILEMODE_TREE.rawValue
            var (size, type, id) = (0, GIT_OBJECT_ANY, delta.new_file.id)
            if !isWritten || git_odb_read_header(&size, &type, database, &id) != 0 { size = 0 }
            changes.append(
                Change(
                    path: FileName(UnsafeBufferPointer(start: name, count: strlen(name)).map { UInt8(bitPattern: $0) }),
                    isWritten: isWritten, isLink: mode == GIT_FILEMODE_LINK.rawValue, size: size))
        }
    }
}

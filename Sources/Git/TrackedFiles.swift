import CLibgit2
import Glibc

/// What a checkout's index knows, to tell its files from those of other people.
final class TrackedFiles {
    /// Nil where there is no index: then nothing is tracked.
    private let index: OpaquePointer?
    /// False for an index that libgit2 cannot read: a damaged, split or sparse one, which the next git of the agent's makes whole.
    let isKnown: Bool
    private let folder: OpenFolder

    /// - Parameters:
    ///   - index: path of the index; nil for a folder without one.
    ///   - folder: the checkout.
    init(index path: String?, in folder: OpenFolder) {
        var handle: OpaquePointer?
        isKnown = path.map { git_index_open(&handle, $0) == 0 } ?? true
        if !isKnown { handle = nil }
        (index, self.folder) = (handle, folder)
    }

    /// Those of the repository inside a checkout whose folder this is.
    private convenience init(ofSubmodule folder: OpenFolder) {
        var handle: OpaquePointer?
        let path = "/proc/self/fd/\(folder.descriptor)"
        defer { git_repository_free(handle) }
        let isThere = git_repository_open_ext(&handle, path, GIT_REPOSITORY_OPEN_NO_SEARCH.rawValue, nil) == 0
        let own = isThere ? handle.flatMap { git_repository_path($0) }.map { String(cString: $0) } : nil
        self.init(index: own.map { $0 + "index" }, in: folder)
    }

    deinit { if let index { git_index_free(index) } }

    private func mode(of path: FileName) -> UInt32? {
        guard let index, let entry = git_index_get_bypath(index, path.bytes, 0) else { return nil }
        return entry.pointee.mode
    }

    /// Whether there is a repository inside the commit's at a path.
    func isSubmodule(_ path: FileName) -> Bool { mode(of: path) == GIT_FILEMODE_COMMIT.rawValue }

    /// Whether a path is a tracked file or link, of this checkout or of a repository inside it.
    func contains(_ path: FileName) -> Bool {
        if let mode = mode(of: path) { return mode != GIT_FILEMODE_COMMIT.rawValue }
        var above = path.parent
        while let parent = above {
            if isSubmodule(parent) {
                guard let inner = OpenFolder(parent, in: folder) else { return false }
                let rest = FileName(path.bytes.dropFirst(parent.bytes.count).map { $0 })
                return TrackedFiles(ofSubmodule: inner).contains(rest)
            }
            above = parent.parent
        }
        return false
    }

    /// Untracked files and links below a folder of the checkout, ignored ones too.
    struct Untracked {
        var count = 0
        /// Relative to the checkout.
        var first: [FileName] = []

        mutating func add(_ path: FileName) {
            count += 1
            if first.count < 3 { first.append(path) }
        }
    }

    /// Deeper ones are taken for untracked as a whole: each level costs a descriptor.
    private static let deepest = 128

    /// - Throws: `GitError` `publish` where a folder cannot be read.
    func untracked(below path: FileName) throws -> Untracked {
        var found = Untracked()
        guard let inner = OpenFolder(path, in: folder) else { throw fileFailure("read \(path.text)") }
        try look(inner, path, relative: path, depth: 1, &found)
        return found
    }

    /// - Parameters:
    ///   - path: for the answer.
    ///   - relative: to this checkout.
    private func look(
        _ folder: OpenFolder, _ path: FileName, relative: FileName, depth: Int, _ found: inout Untracked
    ) throws {
        if relative != .root, isSubmodule(relative) {
            return try TrackedFiles(ofSubmodule: folder).look(folder, path, relative: .root, depth: depth, &found)
        }
        for name in try folder.names() {
            // What git keeps of a repository inside the commit's is no file of anybody's.
            if relative == .root, name == Self.git { continue }
            let (path, relative) = (path.child(name), relative.child(name))
            guard folder.kind(name) == .folder else {
                if !contains(relative) { found.add(path) }
                continue
            }
            guard depth < Self.deepest else {
                found.add(path)
                continue
            }
            guard let inner = OpenFolder(name, in: folder) else { throw fileFailure("read \(path.text)") }
            try look(inner, path, relative: relative, depth: depth + 1, &found)
        }
    }

    private static let git = FileName(".git")
}

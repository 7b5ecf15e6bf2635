import CLibgit2
import Synchronization
import Threads

/// What a commit says of itself. Texts that are no UTF-8 are repaired.
public struct CommitInfo: Sendable, Equatable {
    /// Full id.
    public var id: String
    /// First line of the message.
    public var subject: String
    public var author: String
}

/// What a path inside a commit is.
public enum FolderLookup: Sendable, Equatable {
    case folder
    case missing
    case notAFolder
    /// It leads out of the checkout, by a symbolic link.
    case escapes
}

/// Reads a repository in-process with libgit2; no subprocess, no network, nothing is changed.
///
/// Each call opens the repository afresh (0.05 ms), so that it sees what other programs did meanwhile, and runs on one
/// thread: a libgit2 handle belongs to one thread at a time.
public struct Repository: Sendable {
    /// The checkout's root or a bare repository. Parents are not searched.
    public let path: String

    public init(path: String) {
        self.path = path
    }

    /// Made at the first use, and tried again where the system had none.
    private static let thread = Mutex<WorkerThread?>(nil)

    /// Once per process, on first use.
    private static let initialized: Void = {
        git_libgit2_init()
        _ = clibgit2_trust_any_owner()
        _ = clibgit2_accept_extensions()
        _ = clibgit2_ignore_outer_config()
    }()

    func read<T: Sendable>(_ body: @escaping @Sendable (OpaquePointer) throws -> T) async throws -> T {
        try await Self.onThread { try self.withHandle(body) }
    }

    /// For what of libgit2 needs no repository.
    static func onThread<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        let worker: WorkerThread
        do {
            worker = try thread.withLock { thread in
                let worker = try thread ?? WorkerThread(name: "libgit2")
                thread = worker
                return worker
            }
        } catch {
            throw GitError(.unreachable, operation: "read a repository", explanation: "\(error)")
        }
        return try await worker.run {
            _ = Self.initialized
            return try body()
        }
    }

    private func withHandle<T>(_ body: (OpaquePointer) throws -> T) throws -> T {
        var handle: OpaquePointer?
        let flags = GIT_REPOSITORY_OPEN_NO_SEARCH.rawValue
        let result = git_repository_open_ext(&handle, path, flags, nil)
        guard result == 0, let handle else {
            throw result == GIT_ENOTFOUND.rawValue
                ? GitError(.notACheckout, operation: "open \(path)", explanation: "it is no git checkout")
                : Self.failure("open \(path)")
        }
        defer { git_repository_free(handle) }
        return try body(handle)
    }

    /// libgit2's last error is per thread: read in the same closure as the call.
    static func failure(_ operation: String) -> GitError {
        let text = git_error_last().flatMap { $0.pointee.message.map { String(cString: $0) } } ?? "unknown error"
        return UnsupportedRepository.error(text, operation)
            ?? GitError(.corrupt, operation: operation, explanation: "\(text); run `git fsck` there")
    }

    /// The commit that HEAD points to; nil when the repository has no commit yet.
    public func head() async throws -> String? {
        try await reference("HEAD")
    }

    /// The commit that a full reference name points to; nil when there is no such reference.
    public func reference(_ name: String) async throws -> String? {
        try await read { handle in try Self.target(of: name, handle, path) }
    }

    private static func target(of name: String, _ handle: OpaquePointer, _ path: String) throws -> String? {
        var id = git_oid()
        let result = git_reference_name_to_id(&id, handle, name)
        if result == GIT_ENOTFOUND.rawValue || result == GIT_EUNBORNBRANCH.rawValue { return nil }
        guard result == 0 else { throw failure("read \(name) of \(path)") }
        return text(&id)
    }

    /// What a checkout's HEAD points to and where its files lie, in one look.
    func checkout() async throws -> (head: String?, workTree: WorkTree) {
        try await read { handle in (try Self.target(of: "HEAD", handle, path), WorkTree(of: handle, at: path)) }
    }

    /// The folder with index and HEAD, and the one with refs and objects, which is another where several work trees share
    /// it. Without a slash at the end.
    func gitFolders() async throws -> (own: String, common: String) {
        try await read { handle in
            guard let own = git_repository_path(handle), let common = git_repository_commondir(handle) else {
                throw Self.failure("find the git folder of \(path)")
            }
            func folder(_ text: UnsafePointer<CChar>) -> String {
                let path = String(cString: text)
                return path.hasSuffix("/") ? String(path.dropLast()) : path
            }
            return (folder(own), folder(common))
        }
    }

    /// Reads a commit; throws `corrupt` when it or what it needs is missing.
    public func commit(_ id: String) async throws -> CommitInfo {
        try await read { handle in
            try Self.withCommit(id, handle, path) { commit in
                let subject = git_commit_summary(commit).map { String(cString: $0) } ?? ""
                let author = git_commit_author(commit)?.pointee.name.map { String(cString: $0) } ?? ""
                return CommitInfo(id: id, subject: subject, author: author)
            }
        }
    }

    /// The content of a file in a commit, the commit's symbolic links followed; nil when it has no such file.
    ///
    /// - Throws: `corrupt`; `tooLarge` when the file is larger than `limit` bytes.
    public func file(_ name: String, in commit: String, limit: Int) async throws -> [UInt8]? {
        try await read { handle in
            try Self.resolve(name, in: commit, handle, path) { entry in
                guard let entry, git_tree_entry_type(entry) == GIT_OBJECT_BLOB else { return nil }
                return try Self.content(of: entry, handle, name, limit: limit)
            } otherwise: { _ in
                nil
            }
        }
    }

    /// What `folder` is in a commit, the commit's symbolic links followed. `.` is the root.
    public func folder(_ folder: String, in commit: String) async throws -> FolderLookup {
        try await read { handle in
            try Self.resolve(folder, in: commit, handle, path) { entry in
                guard let entry else { return .folder }
                let mode = git_tree_entry_filemode(entry)
                return mode == GIT_FILEMODE_TREE || mode == GIT_FILEMODE_COMMIT ? .folder : .notAFolder
            } otherwise: {
                $0
            }
        }
    }

    /// Walks a path through a commit's trees and calls `found` with its entry, nil for the root.
    ///
    /// - Parameter otherwise: is called with the reason when the path leads nowhere or out.
    private static func resolve<T>(
        _ name: String, in commit: String, _ handle: OpaquePointer, _ path: String, found: (OpaquePointer?) throws -> T,
        otherwise: (FolderLookup) throws -> T
    ) throws -> T {
        try withCommit(commit, handle, path) { commit in
            var tree: OpaquePointer?
            guard git_commit_tree(&tree, commit) == 0, let tree else { throw failure("read \(path)") }
            defer { git_tree_free(tree) }
            var resolved: [Substring] = []
            var rest = Array(name.split(separator: "/").reversed())
            var links = 0
            while let part = rest.popLast() {
                if part == "." { continue }
                if part == ".." {
                    guard resolved.popLast() != nil else { return try otherwise(.escapes) }
                    continue
                }
                var entry: OpaquePointer?
                let name = (resolved + [part]).joined(separator: "/")
                let result = git_tree_entry_bypath(&entry, tree, name)
                if result == GIT_ENOTFOUND.rawValue { return try otherwise(.missing) }
                guard result == 0, let entry else { throw failure("read \(name) in \(path)") }
                defer { git_tree_entry_free(entry) }
                if git_tree_entry_filemode(entry) == GIT_FILEMODE_LINK {
                    links += 1
                    let target = String(decoding: try content(of: entry, handle, name, limit: 4096), as: UTF8.self)
                    guard links <= 40, !target.hasPrefix("/") else { return try otherwise(.escapes) }
                    rest += target.split(separator: "/").reversed()
                } else if rest.isEmpty {
                    return try found(entry)
                } else if git_tree_entry_filemode(entry) == GIT_FILEMODE_TREE {
                    resolved.append(part)
                } else {
                    return try otherwise(.notAFolder)
                }
            }
            return try found(nil)
        }
    }

    static func content(
        of entry: OpaquePointer, _ handle: OpaquePointer, _ name: String, limit: Int
    ) throws -> [UInt8] {
        var blob: OpaquePointer?
        guard git_blob_lookup(&blob, handle, git_tree_entry_id(entry)) == 0, let blob else {
            throw failure("read \(name)")
        }
        defer { git_blob_free(blob) }
        let size = Int(git_blob_rawsize(blob))
        guard size <= limit else {
            throw GitError(
                .tooLarge, operation: "read \(name)",
                explanation: "it has \(size) bytes, more than the limit of \(limit)")
        }
        return git_blob_rawcontent(blob).map { Array(UnsafeRawBufferPointer(start: $0, count: size)) } ?? []
    }

    static func withCommit<T>(
        _ id: String, _ handle: OpaquePointer, _ path: String, _ body: (OpaquePointer) throws -> T
    ) throws -> T {
        var oid = git_oid()
        var commit: OpaquePointer?
        guard git_oid_fromstr(&oid, id) == 0, git_commit_lookup(&commit, handle, &oid) == 0, let commit else {
            throw failure("read commit \(id) in \(path)")
        }
        defer { git_commit_free(commit) }
        return try body(commit)
    }

    private static func text(_ id: inout git_oid) -> String {
        var buffer = [CChar](repeating: 0, count: 41)
        git_oid_tostr(&buffer, buffer.count, &id)
        return String(decoding: buffer.prefix(40).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

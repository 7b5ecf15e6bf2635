import CLibgit2
import Glibc

/// What a checkout's index notes of its files (git's index-format: times, size, inode, owner, mode), held against what
/// lstat(2) says of them now.
enum IndexStamps {
    /// Whether every tracked file is surely as it was when the index was written; no file is read and no git started.
    ///
    /// False says nothing: a file may be the same all the same, and git has to compare. Submodules are not looked at.
    /// - Parameters:
    ///   - index: path of the index.
    ///   - checkout: path of the folder that its paths are relative to.
    ///   - isSettled: whether nothing was changed in the tick of the clock in which the index was written.
    static func areCurrent(_ index: String, in checkout: String, isSettled: Bool = false) async -> Bool {
        let result = try? await Repository.onThread {
            var areCurrent = true
            try compare(index, checkout, isSettled: isSettled) { _, isCurrent in
                areCurrent = isCurrent
                return isCurrent
            }
            return areCurrent
        }
        return result ?? false
    }

    /// The tracked files that surely are as they were; the index is a settled one.
    static func current(_ index: String, in checkout: String) async -> Set<FileName> {
        let result = try? await Repository.onThread {
            var files: Set<FileName> = []
            try compare(index, checkout, isSettled: true) { name, isCurrent in
                if isCurrent { files.insert(FileName(Array(name) + [0])) }
                return true
            }
            return files
        }
        return result ?? []
    }

    /// - Parameter found: is called with each file, and says whether to go on.
    private static func compare(
        _ path: String, _ checkout: String, isSettled: Bool,
        found: (_ name: UnsafeBufferPointer<CChar>, _ isCurrent: Bool) -> Bool
    ) throws {
        var info = stat()
        guard lstat(path, &info) == 0 else { throw fileFailure("read \(path)") }
        let written = info.modified
        var handle: OpaquePointer?
        guard git_index_open(&handle, path) == 0, let handle else { throw Repository.failure("read \(path)") }
        defer { git_index_free(handle) }
        guard let folder = OpenFolder(path: checkout) else { throw fileFailure("read \(checkout)") }
        var parent: [CChar] = []
        var isBelowFolders = true
        for number in 0..<git_index_entrycount(handle) {
            guard let entry = git_index_get_byindex(handle, number)?.pointee else {
                throw Repository.failure("read \(path)")
            }
            if entry.mode == GIT_FILEMODE_COMMIT.rawValue { continue }
            let name = UnsafeBufferPointer(start: entry.path, count: strlen(entry.path))
            let above = name.prefix(upTo: name.lastIndex(of: slash) ?? 0)
            // A link in place of a folder leads to other files. In the index those of one folder follow each other.
            if !above.elementsEqual(parent) {
                parent = Array(above)
                isBelowFolders = areFolders(parent, below: folder)
            }
            let isCurrent =
                isBelowFolders && fstatat(folder.descriptor, entry.path, &info, AT_SYMLINK_NOFOLLOW) == 0
                && matches(entry, info)
                // What was written in the same tick of the clock as the index may have changed without a sign.
                && (isSettled || max(info.modified, info.changed) < written)
            guard found(name, isCurrent) else { return }
        }
    }

    private static let slash = CChar(bitPattern: UInt8(ascii: "/"))

    /// Whether every part of a path is a folder itself.
    private static func areFolders(_ path: [CChar], below folder: OpenFolder) -> Bool {
        var info = stat()
        let ends = path.indices.filter { path[$0] == slash } + (path.isEmpty ? [] : [path.count])
        return ends.allSatisfy {
            fstatat(folder.descriptor, Array(path[..<$0]) + [0], &info, AT_SYMLINK_NOFOLLOW) == 0
                && info.st_mode & S_IFMT == S_IFDIR
        }
    }

    private static func matches(_ entry: git_index_entry, _ info: stat) -> Bool {
        // The index keeps 32 bits of each.
        entry.mtime == info.modified && entry.ctime == info.changed
            && entry.ino == UInt32(truncatingIfNeeded: info.st_ino)
            && entry.file_size == UInt32(truncatingIfNeeded: info.st_size)
            && entry.uid == info.st_uid && entry.gid == info.st_gid
            // That of a merge which is not done is another.
            && entry.flags & UInt16(GIT_INDEX_ENTRY_STAGEMASK) == 0
            && entry.mode & UInt32(S_IFMT) == info.st_mode & S_IFMT
            && (info.st_mode & S_IFMT != S_IFREG || (entry.mode ^ info.st_mode) & S_IXUSR == 0)
    }
}

extension git_index_time {
    fileprivate static func == (noted: git_index_time, now: FileTime) -> Bool {
        noted.seconds == Int32(truncatingIfNeeded: now.seconds) && noted.nanoseconds == UInt32(now.nanoseconds)
    }
}

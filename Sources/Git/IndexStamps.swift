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
    static func areCurrent(_ index: String, in checkout: String) async -> Bool {
        let result = try? await Repository.onQueue { try compare(index, checkout) }
        return result ?? false
    }

    private static func compare(_ path: String, _ checkout: String) throws -> Bool {
        var info = stat()
        guard lstat(path, &info) == 0 else { return false }
        let written = info.st_mtim
        var handle: OpaquePointer?
        guard git_index_open(&handle, path) == 0, let handle else { throw Repository.failure("read \(path)") }
        defer { git_index_free(handle) }
        guard let folder = OpenFolder(path: checkout) else { return false }
        var parent = ""
        for number in 0..<git_index_entrycount(handle) {
            guard let entry = git_index_get_byindex(handle, number)?.pointee else { return false }
            if entry.mode == GIT_FILEMODE_COMMIT.rawValue { continue }
            let name = String(cString: entry.path)
            let above = name.lastIndex(of: "/").map { String(name[..<$0]) } ?? ""
            // A link in place of a folder leads to other files. In the index those of one folder follow each other.
            guard above.isEmpty || above == parent || areFolders(above, below: folder) else { return false }
            parent = above
            guard fstatat(folder.descriptor, entry.path, &info, AT_SYMLINK_NOFOLLOW) == 0, matches(entry, info),
                // What was written in the same tick of the clock as the index may have changed without a sign.
                (info.st_mtim.tv_sec, info.st_mtim.tv_nsec) < (written.tv_sec, written.tv_nsec)
            else { return false }
        }
        return true
    }

    /// Whether every part of a path is a folder itself.
    private static func areFolders(_ path: String, below folder: OpenFolder) -> Bool {
        var info = stat()
        let above = path.indices.filter { path[$0] == "/" }.map { String(path[..<$0]) }
        return (above + [path]).allSatisfy {
            fstatat(folder.descriptor, $0, &info, AT_SYMLINK_NOFOLLOW) == 0 && info.st_mode & S_IFMT == S_IFDIR
        }
    }

    private static func matches(_ entry: git_index_entry, _ info: stat) -> Bool {
        // The index keeps 32 bits of each.
        entry.mtime.seconds == Int32(truncatingIfNeeded: info.st_mtim.tv_sec)
            && entry.mtime.nanoseconds == UInt32(truncatingIfNeeded: info.st_mtim.tv_nsec)
            && entry.ctime.seconds == Int32(truncatingIfNeeded: info.st_ctim.tv_sec)
            && entry.ctime.nanoseconds == UInt32(truncatingIfNeeded: info.st_ctim.tv_nsec)
            && entry.ino == UInt32(truncatingIfNeeded: info.st_ino)
            && entry.file_size == UInt32(truncatingIfNeeded: info.st_size)
            && entry.uid == info.st_uid && entry.gid == info.st_gid
            // That of a merge which is not done is another.
            && entry.flags & UInt16(GIT_INDEX_ENTRY_STAGEMASK) == 0
            && entry.mode & UInt32(S_IFMT) == info.st_mode & S_IFMT
            && (info.st_mode & S_IFMT != S_IFREG || (entry.mode ^ info.st_mode) & S_IXUSR == 0)
    }
}

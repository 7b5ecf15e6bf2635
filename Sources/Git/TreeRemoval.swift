import Glibc

/// Removes a folder with all that it holds, however deep, with few open files.
struct TreeRemoval {
    /// Levels of folders that are open at once.
    private static let deepest = 64

    private let top: OpenFolder
    /// How many folders were lifted out of the depth.
    private var lifted = 0

    /// Removes a file, or a folder with all that it holds; symbolic links are removed, not followed.
    static func remove(_ name: FileName, in parent: OpenFolder) throws {
        if parent.kind(name) == .folder {
            parent.makeAccessible(name)
            guard let top = OpenFolder(name, in: parent) else { throw fileFailure("open \(name.text)") }
            var removal = TreeRemoval(top: top)
            try removal.empty()
        }
        try parent.unlink(name)
    }

    /// What lies too deep is lifted into the top folder, where a further round finds it.
    private mutating func empty() throws {
        var before: Int
        repeat {
            before = lifted
            for name in try top.names() { try remove(name, from: top, depth: 1) }
        } while lifted > before
    }

    private mutating func remove(_ name: FileName, from folder: OpenFolder, depth: Int) throws {
        if folder.kind(name) == .folder {
            folder.makeAccessible(name)
            if depth == Self.deepest { return try lift(name, from: folder) }
            guard let inner = OpenFolder(name, in: folder) else { throw fileFailure("open \(name.text)") }
            for entry in try inner.names() { try remove(entry, from: inner, depth: depth + 1) }
        }
        try folder.unlink(name)
    }

    private mutating func lift(_ name: FileName, from folder: OpenFolder) throws {
        repeat {
            lifted += 1
            let free = FileName(".lifted-\(lifted)")
            if renameat(folder.descriptor, name.bytes, top.descriptor, free.bytes) == 0 { return }
        } while errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR
        throw fileFailure("remove \(name.text)")
    }
}

extension OpenFolder {
    /// Removes a file, a symbolic link or an empty folder; none is as good.
    fileprivate func unlink(_ name: FileName) throws {
        let flags = kind(name) == .folder ? AT_REMOVEDIR : 0
        guard unlinkat(descriptor, name.bytes, flags) == 0 || errno == ENOENT else {
            throw fileFailure("remove \(name.text)")
        }
    }
}

import Glibc
import Shell

/// What a path is, symbolic links not followed.
enum FileKind {
    case file, folder, link, other, missing

    init(_ mode: mode_t) {
        switch mode & S_IFMT {
        case S_IFREG: self = .file
        case S_IFDIR: self = .folder
        case S_IFLNK: self = .link
        default: self = .other
        }
    }
}

func kind(of path: String) -> FileKind {
    var info = stat()
    return lstat(path, &info) == 0 ? FileKind(info.st_mode) : .missing
}

/// Whether a path is a folder or a symbolic link to one.
func isFolder(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
}

/// The names in a folder, without `.` and `..`; empty when there is no such folder.
func entries(of path: String) throws -> [String] {
    guard let folder = OpenFolder(path: path) else {
        guard errno == ENOENT || errno == ENOTDIR else { throw fileFailure("read \(path)") }
        return []
    }
    return try folder.names().map(\.text)
}

/// Where a symbolic link points; nil when it is none.
func link(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count < 0 ? nil : String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// An open folder: names are looked up relative to it, so that neither the length of a path nor its encoding matters.
final class OpenFolder {
    let descriptor: Int32

    /// - Returns: nil with `errno` set when it cannot be opened.
    init?(path: String) {
        // Set only when there is one: otherwise `deinit` would run, and change `errno`.
        let opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { return nil }
        descriptor = opened
    }

    /// Opens a folder in a folder; a symbolic link is followed only where `follows` says so.
    init?(_ name: FileName, in parent: OpenFolder, follows: Bool = false) {
        let opened = openat(
            parent.descriptor, name.bytes, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW))
        guard opened >= 0 else { return nil }
        descriptor = opened
    }

    deinit { close(descriptor) }

    /// Opens a folder in it to look at what it holds; nil when its mode does not allow that.
    func readableFolder(_ name: FileName) throws -> OpenFolder? {
        // The names can be had with the right to read alone, what they are cannot.
        guard faccessat(descriptor, name.bytes, R_OK | X_OK, AT_EACCESS) == 0 else { return nil }
        guard let folder = OpenFolder(name, in: self) else { throw fileFailure("open \(name.text)") }
        return folder
    }

    /// Whether it is the same folder as another one.
    func isSame(as other: OpenFolder) -> Bool {
        var (first, second) = (stat(), stat())
        return fstat(descriptor, &first) == 0 && fstat(other.descriptor, &second) == 0
            && first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    /// The names in it, without `.` and `..`.
    /// - Throws: `GitError` `publish`; a folder that cannot be read is not an empty one.
    func names() throws -> [FileName] {
        // fdopendir takes its descriptor over, so it gets one of its own.
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw fileFailure("read a folder") }
        guard let stream = fdopendir(copy) else {
            let failure = fileFailure("read a folder")
            close(copy)
            throw failure
        }
        defer { closedir(stream) }
        var names: [FileName] = []
        while true {
            errno = 0
            guard let item = readdir(stream) else {
                guard errno == 0 else { throw fileFailure("read a folder") }
                return names
            }
            let bytes = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                    Array(UnsafeBufferPointer(start: name, count: strlen(name) + 1))
                }
            }
            let name = FileName(bytes)
            if name != Self.itself && name != Self.parent { names.append(name) }
        }
    }

    private static let itself = FileName(".")
    private static let parent = FileName("..")

    func status(_ name: FileName) -> stat? {
        var info = stat()
        return fstatat(descriptor, name.bytes, &info, AT_SYMLINK_NOFOLLOW) == 0 ? info : nil
    }

    func kind(_ name: FileName) -> FileKind {
        status(name).map { FileKind($0.st_mode) } ?? .missing
    }

    /// What stands at a path, or in the place of a folder that would lead there; no symbolic link is followed. Nil when nothing does.
    func standing(at path: FileName) -> (path: FileName, kind: FileKind)? {
        var above: [FileName] = []
        var next = path.parent
        while let parent = next {
            above.append(parent)
            next = parent.parent
        }
        for path in above.reversed() {
            switch kind(path) {
            case .folder: continue
            case .missing: return nil
            case let kind: return (path, kind)
            }
        }
        let kind = kind(path)
        return kind == .missing ? nil : (path, kind)
    }

    /// Whether the name is a folder, or, where `follows` says so, a symbolic link to one.
    func leadsToFolder(_ name: FileName, follows: Bool) -> Bool {
        var info = stat()
        return fstatat(descriptor, name.bytes, &info, follows ? 0 : AT_SYMLINK_NOFOLLOW) == 0
            && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Makes a folder one whose entries can be read and removed. Package managers make read-only ones.
    func makeAccessible(_ name: FileName) {
        fchmodat(descriptor, name.bytes, 0o700, 0)
    }
}

/// Makes a folder and those that lead to it; whatever uses it says when that failed.
func makeFolders(_ path: String) {
    var folder = ""
    for part in path.split(separator: "/") {
        folder += "/" + part
        mkdir(folder, 0o777)
    }
}

/// Removes a file or a folder with all that it holds; symbolic links are removed, not followed.
func removeTree(_ path: String) throws {
    guard let slash = path.lastIndex(of: "/"), let parent = OpenFolder(path: String(path[...slash])) else { return }
    try TreeRemoval.remove(FileName(String(path[path.index(after: slash)...])), in: parent)
}

/// What the system said of the call that just failed.
func fileFailure(_ operation: String) -> GitError {
    GitError(.publish, operation: operation, explanation: errorText(errno))
}

/// Swaps two names in one step (renameat2(2), `RENAME_EXCHANGE`).
func exchange(_ path: String, _ other: String) -> Bool {
    // The C library has it, Swift's module of the C library leaves it out.
    typealias RenameAt2 = @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
    guard let address = dlsym(nil, "renameat2") else {
        errno = ENOSYS
        return false
    }
    return unsafeBitCast(address, to: RenameAt2.self)(AT_FDCWD, path, AT_FDCWD, other, 2) == 0
}

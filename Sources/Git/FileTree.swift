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

/// The names in a folder, without `.` and `..`; empty when it cannot be read.
func entries(of path: String) -> [String] {
    guard let folder = OpenFolder(path: path) else { return [] }
    return folder.names().map(\.text)
}

/// Where a symbolic link points; nil when it is none.
func link(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count < 0 ? nil : String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// A file's name as the kernel has it: any bytes but `/` and NUL.
struct FileName: Hashable {
    /// Ends with NUL.
    let bytes: [CChar]

    init(_ bytes: [CChar]) {
        self.bytes = bytes
    }

    init(_ text: String) {
        bytes = text.utf8.map { CChar(bitPattern: $0) } + [0]
    }

    /// For messages and for names known to be text.
    var text: String { String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) }
}

/// An open folder: names are looked up relative to it, so that neither the length of a path nor its encoding matters.
final class OpenFolder {
    let descriptor: Int32

    init?(path: String) {
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
    }

    /// Opens a folder in a folder; a symbolic link is followed only where `follows` says so.
    init?(_ name: FileName, in parent: OpenFolder, follows: Bool = false) {
        descriptor = openat(
            parent.descriptor, name.bytes, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW))
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// The names in it, without `.` and `..`.
    func names() -> [FileName] {
        // fdopendir takes its descriptor over, so it gets one of its own.
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return [] }
        guard let stream = fdopendir(copy) else {
            close(copy)
            return []
        }
        defer { closedir(stream) }
        var names: [FileName] = []
        while let item = readdir(stream) {
            let bytes = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                    Array(UnsafeBufferPointer(start: name, count: strlen(name) + 1))
                }
            }
            let name = FileName(bytes)
            if name.text != "." && name.text != ".." { names.append(name) }
        }
        return names
    }

    func status(_ name: FileName) -> stat? {
        var info = stat()
        return fstatat(descriptor, name.bytes, &info, AT_SYMLINK_NOFOLLOW) == 0 ? info : nil
    }

    func kind(_ name: FileName) -> FileKind {
        status(name).map { FileKind($0.st_mode) } ?? .missing
    }

    /// Whether the name is a folder, or a symbolic link to one.
    func leadsToFolder(_ name: FileName) -> Bool {
        var info = stat()
        return fstatat(descriptor, name.bytes, &info, 0) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Removes a file, or a folder with all that it holds; symbolic links are removed, not followed.
    func remove(_ name: FileName) throws {
        switch kind(name) {
        case .missing: return
        case .folder:
            // Package managers make folders read-only; without this their content could not be removed.
            fchmodat(descriptor, name.bytes, 0o700, 0)
            if let folder = OpenFolder(name, in: self) {
                for entry in folder.names() { try folder.remove(entry) }
            }
            guard unlinkat(descriptor, name.bytes, AT_REMOVEDIR) == 0 || errno == ENOENT else {
                throw fileFailure("remove \(name.text)")
            }
        default:
            guard unlinkat(descriptor, name.bytes, 0) == 0 || errno == ENOENT else {
                throw fileFailure("remove \(name.text)")
            }
        }
    }
}

/// Removes a file or a folder with all that it holds; symbolic links are removed, not followed.
func removeTree(_ path: String) throws {
    guard let slash = path.lastIndex(of: "/"), let parent = OpenFolder(path: String(path[...slash])) else { return }
    try parent.remove(FileName(String(path[path.index(after: slash)...])))
}

/// What the system said of the call that just failed.
func fileFailure(_ operation: String) -> GitError {
    GitError(.publish, operation: operation, explanation: errorText(errno))
}

import Glibc
import Shell

/// What a path is, symbolic links not followed.
enum FileKind {
    case file, folder, link, other, missing
}

func kind(of path: String) -> FileKind {
    var info = stat()
    guard lstat(path, &info) == 0 else { return .missing }
    switch info.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .folder
    case S_IFLNK: return .link
    default: return .other
    }
}

/// Whether a path is a folder or a symbolic link to one.
func isFolder(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
}

/// The names in a folder, without `.` and `..`; empty when it cannot be read.
func entries(of path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let item = readdir(folder) {
        let name = withUnsafePointer(to: &item.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

/// Where a symbolic link points; nil when it is none.
func link(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count < 0 ? nil : String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Removes a file or a folder with all that it holds; symbolic links are removed, not followed.
func removeTree(_ path: String) throws {
    switch kind(of: path) {
    case .missing: return
    case .folder:
        // Package managers make folders read-only; without this their content could not be removed.
        chmod(path, 0o700)
        for name in entries(of: path) { try removeTree(path + "/" + name) }
        guard rmdir(path) == 0 || errno == ENOENT else { throw failure("remove \(path)") }
    default:
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove \(path)") }
    }
}

private func failure(_ operation: String) -> GitError {
    GitError(.publish, operation: operation, explanation: errorText(errno))
}

/// Moves files out of a staged checkout into a workspace, each by one rename: a reader sees the old file or the new one.
struct FileMover {
    let source: String
    let target: String
    /// Paths, relative to both, that were in the way and were replaced.
    private(set) var displaced: [String] = []

    init(from source: String, to target: String) {
        self.source = source
        self.target = target
    }

    /// Moves everything below the source for which `includes` says so, folders included; the source's own `.git` stays.
    mutating func moveAll(where includes: (String) -> Bool) throws {
        for name in entries(of: source) where name != ".git" { try move(name, includes) }
    }

    private mutating func move(_ path: String, _ includes: (String) -> Bool) throws {
        let (from, to) = (source + "/" + path, target + "/" + path)
        switch kind(of: from) {
        case .folder:
            let names = entries(of: from)
            // A folder is made for what it holds, or because it is empty: git keeps none of those.
            if names.isEmpty { try makeFolder(path) }
            for name in names { try move(path + "/" + name, includes) }
        case .missing: return
        case let kind:
            guard includes(path) else { return }
            if let slash = path.lastIndex(of: "/") { try makeFolder(String(path[..<slash])) }
            if isFolder(to) && Git.kind(of: to) == .folder {
                throw GitError(
                    .publish, operation: "publish \(path)",
                    explanation: "PRE_DEPLOY wrote a file where the workspace has a folder; remove \(to)")
            }
            if rename(from, to) == 0 { return }
            guard errno == EXDEV else { throw failure("publish \(path)") }
            try copy(from, to, kind)
        }
    }

    private mutating func makeFolder(_ path: String) throws {
        let full = target + "/" + path
        if isFolder(full) { return }
        if let slash = path.lastIndex(of: "/") { try makeFolder(String(path[..<slash])) }
        if kind(of: full) != .missing {
            guard unlink(full) == 0 else { throw failure("replace \(full)") }
            displaced.append(path)
        }
        var info = stat()
        let mode = lstat(source + "/" + path, &info) == 0 ? info.st_mode & 0o7777 : 0o755
        guard mkdir(full, mode | 0o700) == 0 || errno == EEXIST else { throw failure("create \(full)") }
        chmod(full, mode)
    }

    /// Copies across file systems beside the target, then renames: the target is never half written.
    private func copy(_ from: String, _ to: String, _ kind: FileKind) throws {
        let temporary = to + ".agent-new"
        unlink(temporary)
        switch kind {
        case .link:
            guard let destination = link(from), symlink(destination, temporary) == 0 else {
                throw failure("copy \(to)")
            }
        case .file:
            try copyFile(from, temporary)
        default:
            return
        }
        guard rename(temporary, to) == 0 else {
            let error = failure("publish \(to)")
            unlink(temporary)
            throw error
        }
    }

    private func copyFile(_ from: String, _ to: String) throws {
        let input = open(from, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else { throw failure("read \(from)") }
        defer { close(input) }
        var info = stat()
        fstat(input, &info)
        let output = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw failure("create \(to)") }
        defer { close(output) }
        var done = false
        defer { if !done { unlink(to) } }
        let size = 1 << 20
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = read(input, buffer, size)
            if count == 0 { break }
            guard count > 0 else { throw failure("read \(from)") }
            var offset = 0
            while offset < count {
                let written = write(output, buffer + offset, count - offset)
                guard written > 0 else { throw failure("write \(to)") }
                offset += written
            }
        }
        // The owner first: changing it clears the set-id bits of the mode.
        _ = fchown(output, info.st_uid, info.st_gid)
        fchmod(output, info.st_mode & 0o7777)
        var times = [info.st_atim, info.st_mtim]
        futimens(output, &times)
        done = true
    }
}

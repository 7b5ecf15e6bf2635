import Glibc
import Shell

/// Moves files out of a staged checkout into a workspace, each by one rename: a reader sees the old file or the new one.
struct FileMover {
    /// Paths that stay where they are: tracked files as the commit has them.
    private let unchanged: Set<String>
    private let source: OpenFolder
    private let target: OpenFolder
    /// Paths, relative to both, that were in the way and were replaced.
    private(set) var displaced: [String] = []

    init(from source: String, to target: String, except unchanged: Set<String>) throws {
        guard let source = OpenFolder(path: source) else { throw fileFailure("open \(source)") }
        guard let target = OpenFolder(path: target) else { throw fileFailure("open \(target)") }
        (self.source, self.target, self.unchanged) = (source, target, unchanged)
    }

    /// Finds what would fail, before anything is moved: a file in the stage where the workspace has a folder.
    func verify() throws {
        try visit(source, target, "") { name, path, _, into in
            guard let into, into.kind(name) == .folder else { return }
            throw GitError(
                .publish, operation: "publish \(path)",
                explanation: "PRE_DEPLOY wrote a file where the workspace has a folder; remove the folder there")
        }
    }

    /// Walks over what is to be moved, with the folder in the workspace that it goes to, where there is one.
    private func visit(
        _ from: OpenFolder, _ to: OpenFolder?, _ prefix: String,
        _ body: (FileName, String, OpenFolder, OpenFolder?) throws -> Void
    ) throws {
        for name in from.names() where !isGitLink(name, in: from, prefix) {
            let path = prefix + name.text
            if from.kind(name) == .folder, let inner = OpenFolder(name, in: from) {
                try visit(inner, to.flatMap { OpenFolder(name, in: $0, follows: true) }, path + "/", body)
            } else if !unchanged.contains(path) {
                try body(name, path, from, to)
            }
        }
    }

    /// The stage's own `.git`, and the files of that name with which work trees of submodules point to it.
    private func isGitLink(_ name: FileName, in folder: OpenFolder, _ prefix: String) -> Bool {
        name.text == ".git" && (prefix.isEmpty || folder.kind(name) == .file)
    }

    /// Moves everything, empty folders included.
    mutating func moveAll() throws {
        try moveEntries(source, target, "")
    }

    private mutating func moveEntries(_ from: OpenFolder, _ to: OpenFolder, _ prefix: String) throws {
        for name in from.names() where !isGitLink(name, in: from, prefix) {
            let path = prefix + name.text
            switch from.kind(name) {
            case .missing: continue
            case .folder: try moveFolder(name, from, to, path)
            case let kind:
                if unchanged.contains(path) { continue }
                if renameat(from.descriptor, name.bytes, to.descriptor, name.bytes) == 0 { continue }
                guard errno == EXDEV else { throw fileFailure("publish \(path)") }
                try copy(name, kind, from, to, path)
            }
        }
    }

    private mutating func moveFolder(_ name: FileName, _ from: OpenFolder, _ to: OpenFolder, _ path: String) throws {
        let mode = (from.status(name)?.st_mode ?? 0o755) & 0o7777
        // Nothing can be moved out of or into a read-only folder, except by root; the mode is put right at the end.
        if mode & 0o700 != 0o700 { fchmodat(from.descriptor, name.bytes, mode | 0o700, 0) }
        guard let inner = OpenFolder(name, in: from) else { throw fileFailure("open \(path)") }
        let isNeeded = holdsAnythingToMove(inner, path + "/")
        if !to.leadsToFolder(name) {
            guard isNeeded else { return }
            if to.kind(name) != .missing {
                guard unlinkat(to.descriptor, name.bytes, 0) == 0 else { throw fileFailure("replace \(path)") }
                displaced.append(path)
            }
            guard mkdirat(to.descriptor, name.bytes, 0o700) == 0 else { throw fileFailure("create \(path)") }
            defer { fchmodat(to.descriptor, name.bytes, mode, 0) }
            guard let into = OpenFolder(name, in: to) else { throw fileFailure("open \(path)") }
            try moveEntries(inner, into, path + "/")
        } else if isNeeded {
            guard let into = OpenFolder(name, in: to, follows: true) else { throw fileFailure("open \(path)") }
            var info = stat()
            fstat(into.descriptor, &info)
            let before = info.st_mode & 0o7777
            if before & 0o700 != 0o700 { fchmod(into.descriptor, before | 0o700) }
            defer { if before & 0o700 != 0o700 { fchmod(into.descriptor, before) } }
            try moveEntries(inner, into, path + "/")
        }
    }

    /// Whether a folder is empty (git keeps none of those, so a hook made it) or holds something to move.
    private func holdsAnythingToMove(_ folder: OpenFolder, _ prefix: String) -> Bool {
        let names = folder.names()
        return names.isEmpty
            || names.contains { name in
                if isGitLink(name, in: folder, prefix) { return false }
                guard folder.kind(name) == .folder else { return !unchanged.contains(prefix + name.text) }
                return OpenFolder(name, in: folder).map { holdsAnythingToMove($0, prefix + name.text + "/") } ?? true
            }
    }

    /// Copies across file systems beside the target, then renames: the target is never half written.
    private func copy(
        _ name: FileName, _ kind: FileKind, _ from: OpenFolder, _ to: OpenFolder, _ path: String
    ) throws {
        let temporary = FileName(".agent-new-\(getpid())")
        unlinkat(to.descriptor, temporary.bytes, 0)
        switch kind {
        case .link:
            var buffer = [CChar](repeating: 0, count: 4097)
            guard readlinkat(from.descriptor, name.bytes, &buffer, 4096) >= 0,
                symlinkat(buffer, to.descriptor, temporary.bytes) == 0
            else { throw fileFailure("copy \(path)") }
        case .file:
            try copyContent(name, from, temporary, to, path)
        default:
            // A socket or a pipe is of no use to another file system.
            return
        }
        guard renameat(to.descriptor, temporary.bytes, to.descriptor, name.bytes) == 0 else {
            let error = fileFailure("publish \(path)")
            unlinkat(to.descriptor, temporary.bytes, 0)
            throw error
        }
    }

    private func copyContent(
        _ name: FileName, _ from: OpenFolder, _ temporary: FileName, _ to: OpenFolder, _ path: String
    ) throws {
        let input = openat(from.descriptor, name.bytes, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard input >= 0 else { throw fileFailure("read \(path)") }
        defer { close(input) }
        var info = stat()
        fstat(input, &info)
        let output = openat(to.descriptor, temporary.bytes, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw fileFailure("create \(path)") }
        defer { close(output) }
        var isDone = false
        defer { if !isDone { unlinkat(to.descriptor, temporary.bytes, 0) } }
        let size = 1 << 20
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = read(input, buffer, size)
            if count == 0 { break }
            guard count > 0 else { throw fileFailure("read \(path)") }
            var offset = 0
            while offset < count {
                let written = write(output, buffer + offset, count - offset)
                guard written > 0 else { throw fileFailure("write \(path)") }
                offset += written
            }
        }
        // The owner first: changing it clears the set-id bits of the mode.
        _ = fchown(output, info.st_uid, info.st_gid)
        fchmod(output, info.st_mode & 0o7777)
        var times = [info.st_atim, info.st_mtim]
        futimens(output, &times)
        isDone = true
    }
}

import Glibc
package import Shell

/// Where the agent keeps locks, logs, staged checkouts and the embedded ledger. Everything in it is the agent's own and
/// readable by its user only.
package struct StateDirectory: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    package var logs: String { path + "/logs" }

    package func log(run: Int64) -> String { "\(logs)/\(run).log" }

    /// What belongs to one workspace; the folder's name is the workspace's own with a hash of its path.
    package func workspace(_ workspace: String) -> WorkspaceFolder {
        let name = workspace.split(separator: "/").last.map { $0.prefix(48) } ?? "root"
        return WorkspaceFolder(
            path: "\(path)/workspaces/\(name)-\(Self.hash(workspace))", workspace: workspace,
            name: "\(name)-\(Self.hash(workspace))")
    }

    /// Creates the folders.
    ///
    /// - Parameter deploys: whether something is deployed or run, and not only noted in the record.
    /// - Throws: `StateDirectoryError` when that is not possible, or root would do it in a directory of another user's.
    package func prepare(for workspace: String, deploys: Bool = true) throws {
        let own = self.workspace(workspace)
        if let (folder, owner) = anothers(workspace, deploys: deploys) {
            guard !deploys else {
                let name = getpwuid(owner.st_uid).map { String(cString: $0.pointee.pw_name) }
                throw StateDirectoryError(
                    "\(folder) belongs to another user (\(name.map { "\($0), " } ?? "")uid \(owner.st_uid)), whose agent could not use what root leaves there; run it as that user (\(name.map { "sudo -u \($0), or " } ?? "")setpriv --reuid=\(owner.st_uid) --regid=\(owner.st_gid) --clear-groups), or give all of \(path) to root if no other agent works there any more"
                )
            }
            // What is not there yet is that user's to make.
            return
        }
        for folder in [path, logs, path + "/workspaces", own.path, own.running] {
            guard Self.makeFolder(folder) else {
                throw StateDirectoryError(
                    "cannot create \(folder): \(errorText(errno)); name a folder that the agent may write")
            }
        }
        // Somebody else's folder in a place that everybody may write to could be swapped under us.
        var info = stat()
        guard stat(path, &info) == 0, info.st_uid == getuid() || info.st_uid == 0 || getuid() == 0 else {
            throw StateDirectoryError("\(path) belongs to another user; name a folder of your own")
        }
        let owners: Set<uid_t> = getuid() == 0 ? [0, info.st_uid] : [getuid(), 0]
        for folder in [path, logs, path + "/workspaces", own.path, own.running] {
            guard Self.isTrusted(folder, owners) else {
                throw StateDirectoryError(
                    "\(folder) belongs to another user, who could change what the agent keeps there; remove it, or name a folder that only the agent's user may write"
                )
            }
        }
        guard access(own.path, W_OK | X_OK) == 0 else {
            throw StateDirectoryError(
                "\(own.path) may not be written: \(errorText(errno))")
        }
    }

    /// Whether a folder, and the link in its place, is of one of these users. What is the agent's own others may not write to.
    private static func isTrusted(_ folder: String, _ owners: Set<uid_t>) -> Bool {
        var (named, info) = (stat(), stat())
        guard lstat(folder, &named) == 0, stat(folder, &info) == 0, owners.contains(named.st_uid),
            owners.contains(info.st_uid)
        else { return false }
        if info.st_uid == getuid(), info.st_mode & 0o022 != 0 { chmod(folder, info.st_mode & 0o7755) }
        return true
    }

    /// Whose it is where this is root and it is another user's. The workspace's own folder, where it is there, says who
    /// works here: whoever made the directory may be another one. In an empty one nobody has worked yet, as in a folder of
    /// the host's user that is mounted into a container: there root may deploy, and a note in the record is the owner's.
    private func anothers(_ workspace: String, deploys: Bool) -> (folder: String, owner: stat)? {
        guard geteuid() == 0 else { return nil }
        for folder in [self.workspace(workspace).path, path] {
            var info = stat()
            guard stat(folder, &info) == 0 else { continue }
            return info.st_uid == 0 || deploys && Self.isUnused(folder) ? nil : (folder, info)
        }
        return nil
    }

    private static func isUnused(_ folder: String) -> Bool {
        guard let stream = opendir(folder) else { return false }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard [".", "..", "lost+found"].contains(name) else { return false }
        }
        return true
    }

    private static func makeFolder(_ path: String) -> Bool {
        if mkdir(path, 0o700) == 0 || errno == EEXIST { return true }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return false }
        return makeFolder(String(path[..<slash])) && (mkdir(path, 0o700) == 0 || errno == EEXIST)
    }

    /// FNV-1a, 64 bits, in hex: the same in every version of the agent.
    package static func hash(_ text: String) -> String {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let hex = String(value, radix: 16)
        return String(repeating: "0", count: 16 - hex.count) + hex
    }
}

/// Why the state directory cannot be used, and what to do.
package struct StateDirectoryError: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// One workspace's part of the state directory.
package struct WorkspaceFolder: Sendable {
    package let path: String
    /// The workspace that it is for.
    package let workspace: String
    /// Its own name, the same in every state directory.
    package let name: String

    /// One file a run that may have living processes.
    package var running: String { path + (isByHand ? "/by-hand" : "/running") }
    /// Whether it is for what a person runs beside the agent.
    private(set) var isByHand = false
    /// The same for what a person runs beside the agent that works on the workspace.
    package var byHand: WorkspaceFolder {
        var folder = self
        folder.isByHand = true
        return folder
    }
    /// Gives a file that root has made to whom the folder belongs: the agent must be able to use what root leaves there.
    ///
    /// - Parameter descriptor: of a file that was opened without following a link.
    package func own(_ descriptor: Int32) {
        var (info, file) = (stat(), stat())
        guard geteuid() == 0, stat(path, &info) == 0, info.st_uid != 0, fstat(descriptor, &file) == 0,
            file.st_uid == 0, file.st_nlink == 1
        else { return }
        fchown(descriptor, info.st_uid, info.st_gid)
    }
    /// Marks git's processes in their environment.
    package var gitMarker: String { "git-" + (path.split(separator: "/").last.map(String.init) ?? "") }

    /// Markers of runs that may have living processes.
    package func markers() -> [String] {
        guard let directory = opendir(running) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let item = readdir(directory) {
            let name = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix("."), !name.hasSuffix(".new") { names.append(name) }
        }
        return names
    }

    package func mark(_ marker: String) -> String { "\(running)/\(marker)" }

    /// What names the processes of a run, as far as that was noted.
    package func processMark(_ marker: String) -> ProcessMark {
        TextFile.read(mark(marker), limit: 4096)
            .flatMap { ProcessMark(text: String(decoding: $0, as: UTF8.self)) } ?? ProcessMark(marker: marker)
    }
}

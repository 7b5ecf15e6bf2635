import Glibc

/// Removes lock files that a killed git left in these git folders; each would make later calls fail for ever.
///
/// A lock that a living process holds open is waited for, at most 5 seconds.
/// - Returns: the paths that were removed.
/// - Throws: `GitError` `publish` when a living process keeps a lock.
@discardableResult
func sweepStaleLocks(in folders: [String]) async throws -> [String] {
    var removed: [String] = []
    for folder in folders {
        for lock in try lockFiles(in: folder) {
            let limit = ContinuousClock.now + .seconds(5)
            while let holder = holder(of: lock) {
                guard ContinuousClock.now < limit else {
                    throw GitError(
                        .publish, operation: "use \(folder)",
                        explanation: "process \(holder) holds \(lock); the agent tries again at the next check")
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            if unlink(lock) == 0 { removed.append(lock) }
        }
    }
    return removed
}

private func lockFiles(in folder: String) throws -> [String] {
    var found: [String] = []
    func look(_ path: String, depth: Int) throws {
        let names = try entries(of: path)
        for name in names {
            let full = path + "/" + name
            if name.hasSuffix(".lock") { found.append(full) }
        }
        guard depth > 0 else { return }
        for name in names where kind(of: path + "/" + name) == .folder {
            try look(path + "/" + name, depth: depth - 1)
        }
    }
    let root = folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    try look(root, depth: 0)
    try look(root + "/refs", depth: 6)
    return found
}

/// A process that has the file open; nil when there is none.
private func holder(of path: String) -> Int32? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    let target = String(cString: resolved)
    for name in (try? entries(of: "/proc")) ?? [] {
        guard let pid = Int32(name) else { continue }
        for descriptor in (try? entries(of: "/proc/\(pid)/fd")) ?? []
        where link("/proc/\(pid)/fd/\(descriptor)") == target {
            return pid
        }
    }
    return nil
}

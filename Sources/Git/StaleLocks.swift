import Glibc

/// Removes lock files that a killed git left; each would make later calls fail for ever.
///
/// A git closes its lock file long before it removes it (`git commit` while an editor is open), and may run where its
/// process cannot be seen. So a lock is removed only where a git of the agent's own left it, or nobody can have it any more.
struct StaleLocks {
    /// Lock files that are there.
    private let paths: [String]
    /// Whether git works in these folders for this agent alone, or a git of the agent's own was ended there.
    private let areOwn: Bool
    /// Where a living git may have a lock that it has closed.
    private let workTree: String?

    /// Nobody's git is at work so long.
    private static let longest = 600
    /// How long one that is somebody's is waited for.
    private static let patience: Duration = .seconds(5)

    /// Those of a repository that only this agent uses.
    init(ofOwn repository: String) {
        paths = Self.find(in: repository)
        (areOwn, workTree) = (true, nil)
    }

    /// Those of a repository that others use, too.
    ///
    /// - Parameters:
    ///   - own: the folder with index and HEAD.
    ///   - common: the folder with refs and objects.
    init(own: String, common: String, workTree: String) {
        var found = Self.find(in: own)
        if common != own {
            // Index and HEAD there are another work tree's.
            found += Self.find(in: common).filter {
                $0 != common + "/index.lock" && $0 != common + "/HEAD.lock"
            }
        }
        paths = found
        areOwn = WorkNote(in: own).isThere
        self.workTree = workTree
    }

    /// - Returns: the paths that were removed.
    /// - Throws: `GitError` `publish` when one is, or may be, a living git's, after at most 5 seconds.
    @discardableResult
    func sweep() async throws -> [String] {
        var removed: [String] = []
        let limit = ContinuousClock.now + Self.patience
        for path in paths {
            while let reason = reasonToKeep(path) {
                guard ContinuousClock.now < limit else {
                    throw GitError(
                        .publish, operation: "lock \(path.dropLast(".lock".count))",
                        explanation: "\(reason); the agent tries again at the next check")
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            if unlink(path) == 0 { removed.append(path) }
        }
        return removed
    }

    /// Why a lock is to be left alone; nil when it is stale, or gone by itself.
    private func reasonToKeep(_ path: String) -> String? {
        var info = stat()
        guard lstat(path, &info) == 0 else { return nil }
        if let holder = Self.holder(of: path, workTree) { return "process \(holder) holds \(path)" }
        let age = time(nil) - info.modified.seconds
        if areOwn || age >= Self.longest { return nil }
        return "\(path) was made \(max(0, age)) seconds ago and may be that of a git that cannot be seen from here; "
            + "remove it if there is none"
    }

    private static func find(in folder: String) -> [String] {
        var found: [String] = []
        func look(_ path: String, depth: Int) {
            // What cannot be read here, git cannot use either, and says so.
            let names = (try? entries(of: path)) ?? []
            for name in names where name.hasSuffix(".lock") { found.append(path + "/" + name) }
            guard depth > 0 else { return }
            for name in names where kind(of: path + "/" + name) == .folder {
                look(path + "/" + name, depth: depth - 1)
            }
        }
        look(folder, depth: 0)
        look(folder + "/refs", depth: 6)
        return found
    }

    /// A process that has the file open, or is a git at work in the work tree; nil when none can be seen.
    private static func holder(of path: String, _ workTree: String?) -> Int32? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        let target = String(cString: resolved)
        for name in (try? entries(of: "/proc")) ?? [] {
            guard let pid = Int32(name) else { continue }
            let descriptors = (try? entries(of: "/proc/\(pid)/fd")) ?? []
            if descriptors.contains(where: { link("/proc/\(pid)/fd/\($0)") == target }) { return pid }
            // Whatever it is called for, git works in the root of the work tree, or below it.
            if let workTree, let folder = link("/proc/\(pid)/cwd"),
                folder == workTree || folder.hasPrefix(workTree + "/"), isGit(pid)
            {
                return pid
            }
        }
        return nil
    }

    private static func isGit(_ pid: Int32) -> Bool {
        link("/proc/\(pid)/exe")?.split(separator: "/").last?.hasPrefix("git") ?? false
    }
}

/// Says in a repository that a git of the agent's own works there: the locks that are found beside it are that git's, since
/// none were there when it began.
///
/// It goes when that git has ended by itself, and so has removed its locks. It stays when git was killed, with the agent
/// or without it. On the locks' file system, so that after a power loss no lock is there without it.
struct WorkNote {
    private let path: String

    /// - Parameter folder: the folder with index and HEAD.
    init(in folder: String) {
        path = folder + "/deploy-agent-at-work"
    }

    var isThere: Bool { access(path, F_OK) == 0 }

    /// Runs git steps with the note beside them.
    func cover<T>(_ body: () async throws -> T) async throws -> T {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw fileFailure("create \(path)") }
        close(descriptor)
        do {
            let result = try await body()
            unlink(path)
            return result
        } catch {
            if (error as? GitError)?.leavesLocks != true { unlink(path) }
            throw error
        }
    }
}

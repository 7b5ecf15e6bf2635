import CLibgit2
import Glibc

/// Where the files of a repository lie, seen from the folder that is to be its checkout.
enum WorkTree: Sendable {
    /// In that folder.
    case here
    /// It is a bare repository.
    case none
    /// In another folder, or with the index and HEAD of another checkout; with what to do about it. To move this checkout would
    /// write there.
    case elsewhere(String)

    /// - Parameter path: the folder whose `.git` was opened.
    init(of handle: OpaquePointer, at path: String) {
        if git_repository_is_bare(handle) != 0 {
            self = .none
            return
        }
        guard let folder = git_repository_path(handle).map({ Self.real(String(cString: $0)) }) else {
            self = .none
            return
        }
        // `core.worktree`, or what a linked work tree's administration notes of where it lies.
        let tree = git_repository_workdir(handle).map { String(cString: $0) }
        if let other = Self.ofWorkTreeConfiguration(folder) ?? tree, !Self.isSame(other, path) {
            self = .elsewhere(
                "is a git checkout whose work tree is another folder, \(Self.shown(other)); see core.worktree in \(folder)/config, or `git worktree repair` where a work tree was moved"
            )
            return
        }
        // By a file or a link `.git`, as one of a copy is: the index and HEAD of somebody else's checkout.
        if folder.hasSuffix("/.git"), !Self.isSame(String(folder.dropLast("/.git".count)), path) {
            self = .elsewhere(
                "has the `.git` of another checkout, \(folder.dropLast("/.git".count)); name that one, or clone the repository to a folder of its own"
            )
            return
        }
        self = .here
    }

    /// `core.worktree` of the work tree's own configuration (git-worktree(1)), which libgit2 does not read.
    private static func ofWorkTreeConfiguration(_ folder: String) -> String? {
        let file = folder + "/config.worktree"
        guard kind(of: file) != .missing else { return nil }
        var configuration: OpaquePointer?
        guard git_config_open_ondisk(&configuration, file) == 0, let configuration else { return nil }
        defer { git_config_free(configuration) }
        var entry: UnsafeMutablePointer<git_config_entry>?
        guard git_config_get_entry(&entry, configuration, "core.worktree") == 0, let entry else { return nil }
        defer { git_config_entry_free(entry) }
        let value = String(cString: entry.pointee.value)
        return value.hasPrefix("/") ? value : folder + "/" + value
    }

    private static func isSame(_ path: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        return stat(path, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev
            && first.st_ino == second.st_ino
    }

    private static func shown(_ path: String) -> String {
        let real = real(path)
        return real.count > 1 && real.hasSuffix("/") ? String(real.dropLast()) : real
    }

    /// Without links and dots where it exists.
    private static func real(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

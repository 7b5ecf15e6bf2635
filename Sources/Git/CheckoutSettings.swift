import CLibgit2
import Glibc

/// How git writes the files of a workspace by the workspace's own settings: filters, line ends and attributes. PRE_DEPLOY finds
/// files written so in its staged checkout, as later hooks find them in the workspace.
struct CheckoutSettings: Sendable {
    private struct Setting: Sendable {
        var name: String
        var value: String
    }

    private let settings: [Setting]
    /// Content of `info/attributes` (gitattributes(5)).
    private let attributes: [UInt8]?
    /// git-crypt's keys, which it looks for beside the configuration.
    private let keys: String?

    private static let attributesFile = "/info/attributes"
    private static let keysFolder = "/git-crypt"

    /// Large files are the agent's own matter, in the workspace too (`AGENT_GIT_LFS`).
    private static func concerns(_ name: String) -> Bool {
        ["core.autocrlf", "core.eol"].contains(name) || name.hasPrefix("filter.") && !name.hasPrefix("filter.lfs.")
    }

    /// - Returns: nil where the workspace has no such settings, or is no checkout.
    init?(of workspace: Workspace) async {
        guard !workspace.isLink, let folder = try? await workspace.repository.gitFolders().common,
            let settings = try? await Self.settings(of: workspace.repository)
        else { return nil }
        self.settings = settings
        attributes = SmallFile.read(folder + Self.attributesFile)
        keys = kind(of: folder + Self.keysFolder) == .folder ? folder + Self.keysFolder : nil
        guard !settings.isEmpty || attributes?.isEmpty == false else { return nil }
    }

    /// What the repository's own configuration sets, in the order in which it stands there.
    private static func settings(of repository: Repository) async throws -> [Setting] {
        try await repository.read { handle in
            var (configuration, iterator): (OpaquePointer?, OpaquePointer?)
            guard git_repository_config_snapshot(&configuration, handle) == 0 else {
                throw Repository.failure("read the configuration of \(repository.path)")
            }
            defer { git_config_free(configuration) }
            guard git_config_iterator_new(&iterator, configuration) == 0 else {
                throw Repository.failure("read the configuration of \(repository.path)")
            }
            defer { git_config_iterator_free(iterator) }
            var found: [Setting] = []
            var entry: UnsafeMutablePointer<git_config_entry>?
            while git_config_next(&entry, iterator) == 0, let entry {
                let name = String(cString: entry.pointee.name)
                // A name alone stands for true.
                let value = entry.pointee.value.map { String(cString: $0) } ?? "true"
                if concerns(name) { found.append(Setting(name: name, value: value)) }
            }
            return found
        }
    }

    /// Gives them to a repository that has none of its own.
    ///
    /// - Parameter folder: with its configuration.
    /// - Throws: `GitError` `publish` or `corrupt`.
    func write(to folder: String) async throws {
        let settings = settings
        try await Repository.onThread {
            var configuration: OpaquePointer?
            guard git_config_open_ondisk(&configuration, folder + "/config") == 0 else {
                throw Repository.failure("read \(folder)/config")
            }
            defer { git_config_free(configuration) }
            for setting in settings {
                guard git_config_set_string(configuration, setting.name, setting.value) == 0 else {
                    throw Repository.failure("write \(setting.name) to \(folder)/config")
                }
            }
        }
        if let attributes {
            makeFolders(folder + "/info")
            try SmallFile.write(attributes, to: folder + Self.attributesFile)
        }
        if let keys { symlink(keys, folder + Self.keysFolder) }
    }

    /// Takes them back.
    ///
    /// - Parameter configuration: as it was.
    static func remove(from folder: String, restoring configuration: [UInt8]) throws {
        try SmallFile.write(configuration, to: folder + "/config")
        for file in [attributesFile, keysFolder] { unlink(folder + file) }
    }
}

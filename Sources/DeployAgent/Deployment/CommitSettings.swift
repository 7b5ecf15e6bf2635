import Git
import Glibc

/// Where settings come from besides the commit: the command line and the process environment.
public struct SettingsOrigin: Sendable {
    /// By variable name.
    public var options: [String: String]
    public var environment: ProcessEnvironment

    public init(options: [String: String], environment: ProcessEnvironment) {
        self.options = options
        self.environment = environment
    }

    /// Settings without any app spec.
    public func base() throws -> Settings {
        try Settings.resolve(options: options, environment: environment, appspec: nil)
    }

    /// Settings as they hold for a commit, read from the spec in that very commit.
    ///
    /// - Throws: `SettingsError`; `GitError` when the commit cannot be read.
    func settings(for commit: String, in repository: Repository, workspace: String) async throws -> Settings {
        let spec = try await appspec(commit, repository, workspace)
        let settings = try Settings.resolve(options: options, environment: environment, appspec: spec)
        guard settings.workspace == workspace else {
            throw SettingsError(
                Setting.workspacePath.name,
                "\"\(settings.workspace)\" comes too late: the spec that says so was read from \(workspace); set it in the environment",
                source: settings.source(of: .workspacePath))
        }
        return settings
    }

    /// Whether the spec is a file outside the checkout, which may change without a commit.
    func isSpecOutside(_ workspace: String) -> Bool {
        guard let path = namedSpec, path.value.hasPrefix("/") else { return false }
        return !Settings.canonicalPath(path.value).hasPrefix(workspace + "/")
    }

    private var namedSpec: Sourced<String>? {
        if let path = options[Setting.appspec.name], !path.isEmpty {
            return Sourced(value: path, source: .option("--appspec"))
        }
        return environment[Setting.appspec.name].map { Sourced(value: $0, source: .environment) }
    }

    private func appspec(_ commit: String, _ repository: Repository, _ workspace: String) async throws -> AppSpec? {
        guard let named = namedSpec else {
            for name in ["appspec.yaml", "appspec.yml"] {
                if let bytes = try await repository.file(name, in: commit, limit: AppSpec.sizeLimit) {
                    return try AppSpec(text: String(decoding: bytes, as: UTF8.self), file: name)
                }
            }
            return nil
        }
        func missing(_ reason: String) -> SettingsError {
            SettingsError(Setting.appspec.name, "\"\(named.value)\" \(reason)", source: named.source)
        }
        var path = named.value
        if path.hasPrefix("/") {
            let canonical = Settings.canonicalPath(path)
            guard canonical.hasPrefix(workspace + "/") else {
                guard let bytes = TextFile.read(path, limit: AppSpec.sizeLimit) else { throw missing("cannot be read") }
                return try AppSpec(text: String(decoding: bytes, as: UTF8.self), file: path)
            }
            path = String(canonical.dropFirst(workspace.count + 1))
        }
        while path.hasPrefix("./") { path = String(path.dropFirst(2)) }
        guard let bytes = try await repository.file(path, in: commit, limit: AppSpec.sizeLimit) else {
            throw missing("is not in commit \(commit.prefix(7)); it takes \(Setting.appspec.accepts)")
        }
        return try AppSpec(text: String(decoding: bytes, as: UTF8.self), file: path)
    }
}

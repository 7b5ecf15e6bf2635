import Git
import Glibc
public import Settings
public import Shell

/// Where settings come from besides the commit: the command line and the process environment.
public struct SettingsOrigin: Sendable {
    /// By variable name.
    public var options: [String: String]
    public var environment: ProcessEnvironment

    public init(options: [String: String], environment: ProcessEnvironment) {
        self.options = options
        self.environment = environment
    }

    /// Settings without any commit: those of an app spec outside the checkout among them.
    ///
    /// - Throws: `SettingsError`.
    public func base() throws -> Settings {
        let own = try Settings.resolve(options: options, environment: environment, appspec: nil)
        guard let named = namedSpec, isSpecOutside(own.workspace) else { return own }
        return try Settings.resolve(options: options, environment: environment, appspec: outsideSpec(named))
    }

    private func outsideSpec(_ named: Sourced<String>) throws -> AppSpec {
        guard let bytes = TextFile.read(named.value, limit: AppSpec.sizeLimit) else {
            throw SettingsError(Setting.appspec.name, "\"\(named.value)\" cannot be read", source: named.source)
        }
        return try AppSpec(text: String(decoding: bytes, as: UTF8.self), file: named.value)
    }

    /// Settings as they hold for a commit, read from the spec in that very commit.
    ///
    /// - Parameters:
    ///   - workspace: where the agent works. A spec that names another one comes too late: it is warned of.
    ///   - stateDirectory: the same for the state directory; nil when none is in use yet.
    /// - Throws: `SettingsError`; `GitError` when the commit cannot be read.
    func settings(
        for commit: String, in repository: Repository, workspace: String, stateDirectory: String? = nil
    ) async throws -> Settings {
        let spec = try await appspec(commit, repository, workspace)
        let settings = try Settings.resolve(options: options, environment: environment, appspec: spec)
        var inUse: [Setting: String] = [:]
        if settings.workspace != workspace { inUse[.workspacePath] = workspace }
        if let stateDirectory, settings.stateDirectory != stateDirectory { inUse[.stateDirectory] = stateDirectory }
        guard !inUse.isEmpty else { return settings }
        // Again with those in use, since others follow from them.
        var kept = options
        for (setting, value) in inUse { kept[setting.name] = value }
        var result = try Settings.resolve(options: kept, environment: environment, appspec: spec)
        result.warnings += inUse.map { setting, value in
            "\(setting.name) (\(settings.source(of: setting))) comes too late: the agent works with \(value); set it in the environment"
        }.sorted()
        return result
    }

    /// Whether the spec is a file outside the checkout, which may change without a commit.
    func isSpecOutside(_ workspace: String) -> Bool {
        guard let path = namedSpec, path.value.hasPrefix("/") else { return false }
        return pathInside(workspace, path.value) == nil
    }

    private var namedSpec: Sourced<String>? {
        if let path = options[Setting.appspec.name], !path.isEmpty {
            return Sourced(value: path, source: .option("--appspec"))
        }
        return environment[Setting.appspec.name].map { Sourced(value: $0, source: .environment) }
    }

    /// The file with the tasks, read from the commit; nil when it has none. One of the usual names may be another tool's.
    ///
    /// - Parameters:
    ///   - named: as set; nil for the usual names.
    ///   - known: the file as it was read before.
    /// - Throws: `SettingsError`; `GitError` when the commit cannot be read.
    func deployFile(
        _ named: Sourced<String>?, for commit: String, in repository: Repository, workspace: String,
        known: DeployFile? = nil
    ) async throws -> DeployFile? {
        func file(_ bytes: [UInt8], _ name: String) throws -> DeployFile {
            try DeployFile.read(bytes, file: name, isNamed: named != nil, known: known)
        }
        guard let named else {
            var foreign: DeployFile?
            for name in ["deploy.yaml", "deploy.yml"] {
                guard let bytes = try await repository.file(name, in: commit, limit: DeployFile.sizeLimit) else {
                    continue
                }
                let found = try file(bytes, name)
                if !found.isForeign { return found }
                foreign = foreign ?? found
            }
            return foreign
        }
        guard let path = pathInside(workspace, named.value) else {
            guard let bytes = TextFile.read(named.value, limit: DeployFile.sizeLimit) else {
                throw SettingsError(
                    Setting.deployFile.name, "\"\(named.value)\" cannot be read", source: named.source)
            }
            return try file(bytes, named.value)
        }
        guard let bytes = try await repository.file(path, in: commit, limit: DeployFile.sizeLimit) else {
            throw SettingsError(
                Setting.deployFile.name,
                "\"\(named.value)\" is not in commit \(commit.prefix(7)); it takes \(Setting.deployFile.accepts)",
                source: named.source)
        }
        return try file(bytes, path)
    }

    /// A path as the commit has it; nil for a file outside the checkout.
    private func pathInside(_ workspace: String, _ path: String) -> String? {
        var path = path
        if path.hasPrefix("/") {
            let canonical = canonicalPath(path)
            // Of a link, too, which leads elsewhere.
            let roots = [workspace, canonicalPath(workspace)].map { $0 + "/" }
            guard let root = roots.first(where: { canonical.hasPrefix($0) }) else { return nil }
            path = String(canonical.dropFirst(root.count))
        }
        while path.hasPrefix("./") { path = String(path.dropFirst(2)) }
        return path
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
        guard let path = pathInside(workspace, named.value) else { return try outsideSpec(named) }
        guard let bytes = try await repository.file(path, in: commit, limit: AppSpec.sizeLimit) else {
            throw SettingsError(
                Setting.appspec.name,
                "\"\(named.value)\" is not in commit \(commit.prefix(7)); it takes \(Setting.appspec.accepts)",
                source: named.source)
        }
        return try AppSpec(text: String(decoding: bytes, as: UTF8.self), file: path)
    }
}

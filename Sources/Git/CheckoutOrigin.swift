import CLibgit2

/// The `origin` of a checkout that the agent has made: what a hook's `git fetch` asks. It follows the remote's URL until
/// somebody sets another one.
struct CheckoutOrigin {
    let repository: Repository
    let git: GitProgram
    let operation: String

    /// The last URL that the agent has set.
    static let note = "deployagent.origin"
    private static let url = "remote.origin.url"

    /// Whether a checkout is one that the agent has made.
    static func isNoted(in repository: Repository) async -> Bool {
        (try? await repository.setting(note)) ?? nil != nil
    }

    func add(_ url: String) async throws {
        try await run("config", Self.note, url)
        try await run("remote", "add", "origin", url)
    }

    /// Safe to repeat after it was broken off between the two.
    func update(_ url: String) async throws {
        let (noted, origin) = try await (repository.setting(Self.note), repository.setting(Self.url))
        guard let noted, noted != url, origin == noted || origin == url else { return }
        if origin != url { guard try await run("remote", "set-url", "origin", url) else { return } }
        try await run("config", Self.note, url)
    }

    /// Notes what was published, where it is the agent that has made the checkout.
    func notePublished(_ commit: String, in folder: String) async throws {
        if try await repository.setting(Self.note) != nil { try WorkspaceRepair.note(commit, in: folder) }
    }

    /// Nothing that is deployed depends on it, so that its failure is none.
    @discardableResult
    private func run(_ arguments: String...) async throws -> Bool {
        try await git.run(arguments, in: repository.path, operation: operation).exitCode == 0
    }
}

extension Repository {
    /// A text of its configuration, the user's and the machine's included; nil when it is not set.
    fileprivate func setting(_ name: String) async throws -> String? {
        try await read { handle in
            var configuration: OpaquePointer?
            guard git_repository_config_snapshot(&configuration, handle) == 0, let configuration else {
                throw Self.failure("read the configuration of \(path)")
            }
            defer { git_config_free(configuration) }
            var text: UnsafePointer<CChar>?
            return git_config_get_string(&text, configuration, name) == 0 ? text.map { String(cString: $0) } : nil
        }
    }
}

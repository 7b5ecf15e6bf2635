import Glibc

/// The agent's own bare repository for one workspace: commits are fetched here and staged from here, so that the
/// workspace is not touched before its time.
///
/// Only the holder of the workspace's lock may call what changes it.
public struct CommitStore: Sendable {
    /// Path of the bare repository.
    public let path: String
    /// Path of the staged checkout.
    public let stage: String

    /// Points to the commit fetched last; moved by git only once all of its objects are there.
    private static let target = "refs/agent/target"

    /// - Parameter folder: the workspace's folder in the state directory.
    public init(folder: String) {
        path = folder + "/repo.git"
        stage = folder + "/stage"
    }

    public var repository: Repository { Repository(path: path) }

    /// Creates the repository where there is none; one that a killed git left half made is completed.
    public func prepare(_ git: GitProgram) async throws {
        if access(path + "/HEAD", F_OK) == 0 && access(path + "/objects", F_OK) == 0 { return }
        try await git.expect(
            ["init", "--quiet", "--bare", "--", path], in: "/", operation: "create \(path)", code: .publish)
    }

    /// Whether a commit was fetched completely.
    public func holds(_ commit: String) async -> Bool {
        (try? await repository.reference(Self.target)) == commit
    }

    /// Fetches one commit, shallow, without any other ref.
    ///
    /// - Throws: `GitError` `unreachable`, or `missingRef` when the remote does not have it.
    public func fetch(_ tip: RemoteTip, from remote: Remote, _ git: GitProgram) async throws {
        let operation = "fetch \(tip.commit.prefix(12)) from \(remote.displayURL)"
        try await sweepStaleLocks(in: [path])
        let common = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
        var result = try await git.run(
            common + ["--depth=1", "--", remote.url, "+\(tip.commit):\(Self.target)"], in: path, operation: operation,
            network: true)
        if result.exitCode != 0, let reference = tip.reference {
            // A server that does not hand out commits by id (an annotated tag over protocol v0) does so by name.
            let byName = try await git.run(
                common + ["--depth=1", "--", remote.url, "+\(reference)^{}:\(Self.target)"], in: path,
                operation: operation, network: true)
            let byTag =
                byName.exitCode == 0
                ? byName
                : try await git.run(
                    common + ["--depth=1", "--", remote.url, "+\(reference):refs/agent/fetched"], in: path,
                    operation: operation, network: true)
            if byTag.exitCode == 0, byName.exitCode != 0 {
                result = try await git.run(
                    ["update-ref", Self.target, "refs/agent/fetched^{commit}"], in: path, operation: operation)
            }
        } else if result.exitCode != 0 {
            // A commit id that the server does not hand out by itself is looked for in the history of all branches.
            let all = try await git.run(
                common + ["--", remote.url, "+refs/heads/*:refs/agent/heads/*", "+refs/tags/*:refs/agent/tags/*"],
                in: path, operation: operation, network: true)
            if all.exitCode == 0 {
                let found = try await git.run(
                    ["update-ref", Self.target, "\(tip.commit)^{commit}"], in: path, operation: operation)
                guard found.exitCode == 0 else {
                    throw GitError(
                        .missingRef, operation: operation,
                        explanation: "no branch or tag of the remote contains this commit; check GITHUB_BRANCH")
                }
                result = found
            }
        }
        guard await holds(tip.commit) else {
            throw GitError(
                .unreachable, operation: operation,
                explanation: result.exitCode == 0
                    ? "the ref moved meanwhile; the next check takes the newer commit" : result.message)
        }
    }

    /// Checks a commit out to the staging folder, which is emptied first.
    public func stage(_ commit: String, _ git: GitProgram) async throws {
        let operation = "check out \(commit.prefix(12)) to \(stage)"
        try discardStage()
        try await sweepStaleLocks(in: [path])
        try await git.expect(
            ["worktree", "add", "--quiet", "--force", "--force", "--detach", "--", stage, commit], in: path,
            operation: operation, code: .publish)
    }

    /// Removes the staged checkout.
    public func discardStage() throws {
        try removeTree(stage)
    }

    /// Removes what no ref needs any more. Cheap when there is little: git looks at the number of packs and loose objects.
    public func tidy(_ git: GitProgram) async {
        _ = try? await git.run(
            [
                "-c", "gc.auto=500", "-c", "gc.autoPackLimit=20", "-c", "gc.autoDetach=false", "-c",
                "gc.pruneExpire=now", "gc",
                "--quiet", "--auto",
            ],
            in: path, operation: "tidy \(path)")
    }
}

import Execution
import Git
import Settings
import Shell

/// What came of the look at the signature of the commit looked at last: it is not looked at again at every check.
struct VerifiedCommits {
    private var last: (commit: String, signatures: CommitSignatures, stamp: FileStamp, refusal: GitError?)?

    /// Whether what a commit says may be used: a spec that nobody has signed does not count where somebody has to.
    mutating func mayUse(
        _ commit: String, in repository: String, _ base: Settings, _ folder: WorkspaceFolder, _ git: GitProgram
    ) async throws -> Bool {
        guard let signatures = base.git.signatures else { return true }
        return try await refusal(of: commit, in: repository, signatures, folder: folder.path, git) == nil
    }

    /// - Returns: why the commit must not be used; nil when it may.
    /// - Throws: `GitError` when that could not be found out.
    mutating func refusal(
        of commit: String, in repository: String, _ signatures: CommitSignatures, folder: String, _ git: GitProgram
    ) async throws -> GitError? {
        // Another list of signers may allow it.
        let stamp = FileStamp(signatures.signersFile)
        if let last, last.commit == commit, last.signatures == signatures, last.stamp == stamp { return last.refusal }
        var refusal: GitError?
        do {
            try await signatures.expect(commit, in: repository, folder: folder, git)
        } catch let error as GitError where error.code == .signature {
            refusal = error
        }
        last = (commit, signatures, stamp, refusal)
        return refusal
    }
}

extension SettingsOrigin {
    /// A git that asks no remote.
    func localGit(_ settings: Settings, _ folder: WorkspaceFolder, stop: StopSignal? = nil) -> GitProgram {
        GitProgram(
            environment: environment.entries, timeout: settings.gitTimeout, killGrace: settings.killGrace,
            marker: folder.gitMarker, stop: stop)
    }
}

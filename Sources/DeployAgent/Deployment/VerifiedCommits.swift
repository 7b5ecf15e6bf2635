import Git

/// What came of the look at the signature of the commit looked at last: it is not looked at again at every check.
struct VerifiedCommits {
    private var last: (commit: String, signatures: CommitSignatures, stamp: RemoteGit.FileStamp?, refusal: GitError?)?

    /// - Returns: why the commit must not be used; nil when it may.
    /// - Throws: `GitError` when that could not be found out.
    mutating func refusal(
        of commit: String, in repository: String, _ signatures: CommitSignatures, folder: String, _ git: GitProgram
    ) async throws -> GitError? {
        // Another list of signers may allow it.
        let stamp = RemoteGit.FileStamp(signatures.signersFile)
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

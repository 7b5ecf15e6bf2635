import Glibc

/// Whose signature a commit must have.
public struct CommitSignatures: Sendable, Equatable {
    public enum Kind: String, Sendable {
        case ssh, gpg
    }

    public var kind: Kind
    /// Path of the allowed signers: for ssh as in ssh-keygen(1), for gpg exported public keys.
    public var signersFile: String

    public init(kind: Kind, signersFile: String) {
        self.kind = kind
        self.signersFile = signersFile
    }

    /// Expects that one of the allowed signers has signed a commit.
    ///
    /// - Parameter folder: where a key ring may be made.
    /// - Throws: `GitError` `signature` when none has, or that cannot be told.
    public func expect(_ commit: String, in repository: String, folder: String, _ git: GitProgram) async throws {
        let operation = "verify the signature of \(commit.prefix(12))"
        // Signatures of the other kinds are not looked at: they would be held against keys that nobody has allowed.
        let others = ["openpgp", "x509", "ssh"].filter { $0 != (kind == .gpg ? "openpgp" : "ssh") }
        var options = others.flatMap { ["-c", "gpg.\($0).program=/bin/false"] }
        var git = git
        switch kind {
        case .ssh:
            guard git.has("ssh-keygen") else {
                throw GitError(
                    .gitMissing, operation: operation,
                    explanation: "there is no `ssh-keygen` program in PATH; install it (Debian: openssh-client)")
            }
            options += [
                "-c", "gpg.ssh.program=ssh-keygen", "-c", "gpg.ssh.allowedSignersFile=\(signersFile)", "-c",
                "gpg.ssh.revocationFile=",
            ]
        case .gpg:
            let home = folder + "/gnupg"
            try removeTree(home)
            guard mkdir(home, 0o700) == 0 else { throw fileFailure("create \(home)") }
            let imported = try await git.run(
                ["--homedir", home, "--batch", "--quiet", "--import", "--", signersFile], in: folder,
                operation: operation, program: "gpg")
            guard imported.exitCode == 0 else { throw imported.error(.signature, operation) }
            git = git.adding("GNUPGHOME", home)
            options += [
                "-c", "gpg.program=gpg", "-c", "gpg.openpgp.program=gpg", "-c", "gpg.minTrustLevel=undefined",
            ]
        }
        let result = try await git.run(options + ["verify-commit", commit], in: repository, operation: operation)
        guard result.exitCode == 0 else {
            // Nothing at all is said of a commit without one.
            let reason =
                result.message.hasPrefix("git ended with") ? "it has no signature of this kind" : result.message
            throw GitError(
                .signature, operation: operation,
                explanation:
                    "\(reason); AGENT_VERIFY_COMMIT=\(kind.rawValue) deploys only what one of \(signersFile) has signed"
            )
        }
    }
}

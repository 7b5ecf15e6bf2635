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

    /// Whether a file's content may be allowed signers of this kind: a list with at least one key, or OpenPGP's packets, in
    /// ASCII armor or not.
    public func mayBeSigners(_ content: [UInt8]) -> Bool {
        switch kind {
        case .gpg:
            return content.first.map { $0 & 0x80 != 0 } == true
                || String(decoding: content, as: UTF8.self).contains("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        case .ssh:
            return SSHKeyText.hasNamedKey(String(decoding: content, as: UTF8.self))
        }
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
        var home = ""
        defer { if !home.isEmpty { try? removeTree(home) } }
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
            // Of this process alone: others may verify at this moment.
            home = "\(folder)/gnupg-\(getpid())"
            try sweepHomes(folder)
            guard mkdir(home, 0o700) == 0 else { throw fileFailure("create \(home)") }
            // gpg looks for the socket of its gpg-agent there, and fails where its path is longer than 107 bytes.
            try await git.expect(
                ["--homedir", "/proc/self/cwd", "--no-autostart", "--batch", "--quiet", "--import", "--", signersFile],
                in: home, operation: "read \(signersFile)", code: .publish, program: "gpg")
            git = git.adding("GNUPGHOME", home)
            options += [
                "-c", "gpg.program=gpg", "-c", "gpg.openpgp.program=gpg", "-c", "gpg.minTrustLevel=undefined",
            ]
        }
        let result = try await git.run(
            options + ["verify-commit", "--raw", commit], in: repository, operation: operation)
        guard result.exitCode != 0 else { return }
        // Nothing at all is said of a commit without a signature, or with one of another kind.
        let isUnsigned =
            result.message == "git ended with exit code 1" || result.message.contains(Self.ofOtherKind)
        guard isUnsigned || Self.verdicts.contains(where: result.message.contains) else {
            // Of the commit that says nothing: the disk may be full.
            throw result.error(.publish, operation)
        }
        throw GitError(
            .signature, operation: operation,
            explanation:
                "\(isUnsigned ? "it has no signature of this kind" : Self.inWords(result.message)); AGENT_VERIFY_COMMIT=\(kind.rawValue) deploys only what one of \(signersFile) has signed"
        )
    }

    private static let ofOtherKind = "allowedSignersFile needs to be configured"

    /// Without what is meant for programs, and what we have set ourselves.
    private static func inWords(_ message: String) -> String {
        let parts = message.split(separator: "; ").filter {
            !$0.hasPrefix("[GNUPG:]") && !$0.contains("revocation file configured but not found")
        }
        return parts.isEmpty ? "its signature does not hold" : parts.joined(separator: "; ")
    }

    /// What ssh-keygen, gpg (doc/DETAILS of GnuPG) and git say of a signature that does not hold.
    private static let verdicts = [
        "No principal matched", "incorrect signature", "Could not verify signature", "Signature verification failed",
        "key is revoked", "BADSIG", "ERRSIG", "NO_PUBKEY", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA",
        ofOtherKind,
    ]

    /// Removes the key rings of processes that are no more.
    private func sweepHomes(_ folder: String) throws {
        for name in try entries(of: folder) where name.hasPrefix("gnupg-") {
            guard let pid = pid_t(name.dropFirst("gnupg-".count)) else { continue }
            if pid == getpid() || kill(pid, 0) != 0 && errno == ESRCH { try removeTree("\(folder)/\(name)") }
        }
    }
}

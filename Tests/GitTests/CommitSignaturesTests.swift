import TestSupport
import Testing

@testable import Git

/// Real keys, real signatures.
@Suite(.timeLimit(.minutes(1)))
struct CommitSignaturesTests {
    private func signed(_ upstream: Upstream, _ options: String) async throws -> String {
        try await upstream.run(
            "git \(options) commit -q --allow-empty -S -m signed; git rev-parse HEAD", in: upstream.path
        )
        .trimmingSuffix { $0.isNewline }
    }

    private func isAllowed(_ upstream: Upstream, _ commit: String, _ signatures: CommitSignatures) async throws {
        try await signatures.expect(commit, in: upstream.path, folder: upstream.folder.path, upstream.program)
    }

    private func refusal(_ upstream: Upstream, _ commit: String, _ signatures: CommitSignatures) async -> GitError? {
        await gitError {
            try await signatures.expect(commit, in: upstream.path, folder: upstream.folder.path, upstream.program)
        }
    }

    @Test("of ssh signatures those of an allowed signer count, no others, and no commit without one")
    func ssh() async throws {
        let upstream = try await Upstream()
        try await upstream.run(
            "for k in mine other; do ssh-keygen -q -t ed25519 -N '' -f ../$k; done", in: upstream.path)
        let mine = try #require(upstream.folder.read("mine.pub"))
        try upstream.folder.write("signers", "t@t \(mine)")
        let signatures = CommitSignatures(kind: .ssh, signersFile: upstream.folder.path + "/signers")
        let ssh = "-c gpg.format=ssh -c user.signingKey=\(upstream.folder.path)"
        try await isAllowed(upstream, signed(upstream, "\(ssh)/mine"), signatures)
        #expect(await refusal(upstream, try signed(upstream, "\(ssh)/other"), signatures)?.code == .signature)
        let none = await refusal(upstream, try await upstream.commit(), signatures)
        #expect(none?.code == .signature && none?.description.contains("AGENT_VERIFY_COMMIT=ssh") == true)
        // Changed after it was signed.
        let forged = try await upstream.run(
            "git cat-file commit \(signed(upstream, "\(ssh)/mine")) | sed 's/^signed$/forged/' | git hash-object -t commit -w --stdin",
            in: upstream.path)
        #expect(await refusal(upstream, forged.trimmingSuffix { $0.isNewline }, signatures)?.code == .signature)
    }

    @Test("of gpg signatures those of the keys in the file count, whatever the user's own key ring holds")
    func gpg() async throws {
        let upstream = try await Upstream()
        // A home of its own for each: what one has the other does not know.
        let make =
            "gpg --homedir ../$k --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key $k@t ed25519 sign never 2>&1"
        try await upstream.run(
            """
            for k in mine other; do mkdir -m 700 ../$k; \(make); gpg --homedir ../$k --armor --export $k@t > ../$k.asc; done
            printf '#!/bin/sh\\nexec gpg --homedir %s/mine "$@"\\n' "$PWD/.." > ../as-mine
            printf '#!/bin/sh\\nexec gpg --homedir %s/other "$@"\\n' "$PWD/.." > ../as-other
            chmod +x ../as-mine ../as-other
            """, in: upstream.path)
        let signatures = CommitSignatures(kind: .gpg, signersFile: upstream.folder.path + "/mine.asc")
        func commit(_ who: String) async throws -> String {
            try await signed(upstream, "-c gpg.program=\(upstream.folder.path)/as-\(who) -c user.signingKey=\(who)@t")
        }
        let (good, bad) = (try await commit("mine"), try await commit("other"))
        try await upstream.run("for k in mine other; do gpgconf --homedir ../$k --kill all; done", in: upstream.path)
        try await isAllowed(upstream, good, signatures)
        #expect(await refusal(upstream, bad, signatures)?.code == .signature)
        #expect(await refusal(upstream, try upstream.commit(), signatures)?.code == .signature)
        // The user knows the key; nobody has allowed it.
        try await upstream.run(
            "gpg --homedir ../.gnupg --version > /dev/null; mkdir -p -m 700 ../.gnupg; gpg --homedir ../.gnupg --quiet --import ../other.asc",
            in: upstream.path)
        #expect(await refusal(upstream, bad, signatures)?.code == .signature)
        // A signature of the other kind says nothing, in either way of asking.
        let ssh = CommitSignatures(kind: .ssh, signersFile: upstream.folder.path + "/mine.asc")
        #expect(await refusal(upstream, good, ssh)?.code == .signature)
    }
}

extension String {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
        var text = self
        while let last = text.last, predicate(last) { text.removeLast() }
        return text
    }
}

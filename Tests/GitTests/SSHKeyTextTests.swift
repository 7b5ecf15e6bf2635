import Foundation
import Git
import TestSupport
import Testing

struct SSHKeyTextTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func key(_ options: String, passphrase: String) async throws -> String {
        try await shell("rm -f key; ssh-keygen -q \(options) -N '\(passphrase)' -f key </dev/null", in: folder.path)
        return try String(contentsOfFile: folder.path + "/key", encoding: .utf8)
    }

    private func problem(_ text: String) -> String? { SSHKeyText.problem(ofPrivateKey: Array(text.utf8)) }

    @Test(
        "a private key is taken without a passphrase only, however it is written",
        arguments: ["-t ed25519", "-t ecdsa", "-t rsa -b 2048", "-t rsa -b 2048 -m PEM", "-t rsa -b 2048 -m PKCS8"])
    func passphrases(options: String) async throws {
        #expect(problem(try await key(options, passphrase: "")) == nil)
        #expect(problem(try await key(options, passphrase: "of a person"))?.hasPrefix("has a passphrase") == true)
    }

    @Test("what is another kind of key is said")
    func otherKinds() async throws {
        _ = try await key("-t ed25519", passphrase: "")
        let publicKey = try String(contentsOfFile: folder.path + "/key.pub", encoding: .utf8)
        #expect(problem(publicKey)?.hasPrefix("is a public key") == true)
        #expect(problem("-----BEGIN PUBLIC KEY-----\nMCow\n")?.hasPrefix("is a public key") == true)
        #expect(problem("PuTTY-User-Key-File-3: ssh-ed25519\n")?.hasPrefix("is a key of PuTTY") == true)
        #expect(problem("-----BEGIN CERTIFICATE-----\nMCow\n") == "holds no private key")
        #expect(problem("") == "holds no private key")
    }
}

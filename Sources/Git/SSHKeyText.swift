/// What can be told of ssh's files by their text, before ssh is asked: all that it would say is "Permission denied".
public enum SSHKeyText {
    /// Why a file's content is no private key that ssh can use without somebody at a keyboard; nil when it may be one.
    public static func problem(ofPrivateKey content: [UInt8]) -> String? {
        let text = String(decoding: content, as: UTF8.self)
        if text.hasPrefix("PuTTY-User-Key-File") {
            return "is a key of PuTTY; export it as one of OpenSSH: puttygen KEY -O private-openssh -o NEW"
        }
        guard let header = text.firstRange(of: "PRIVATE KEY-----") else {
            return hasPublicKey(text) || text.contains("PUBLIC KEY-----")
                ? "is a public key; the private one is needed, most often the file of that name without .pub"
                : "holds no private key"
        }
        let body = text[header.upperBound...].drop(while: \.isWhitespace)
        let isEncrypted =
            text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || body.hasPrefix("Proc-Type: 4,ENCRYPTED")
            || (body.hasPrefix(magic) && !body.hasPrefix(magic + cipherNone))
        return isEncrypted
            ? "has a passphrase, and nobody is there to type it; use a key without, or take it off a copy: ssh-keygen -p"
            : nil
    }

    /// Whether a file's content may be known hosts: nothing yet, or at least one key behind a name.
    public static func mayBeKnownHosts(_ content: [UInt8]) -> Bool {
        let text = String(decoding: content, as: UTF8.self)
        return hasNamedKey(text) || text.split(whereSeparator: \.isNewline).allSatisfy { $0.hasPrefix("#") }
    }

    /// Whether there is a line with a public key behind a name, as lists of known hosts and of allowed signers have them.
    static func hasNamedKey(_ text: String) -> Bool { hasKey(text, behindName: true) }

    private static func hasPublicKey(_ text: String) -> Bool { hasKey(text, behindName: false) }

    private static func hasKey(_ text: String, behindName: Bool) -> Bool {
        text.split(whereSeparator: \.isNewline).contains { line in
            guard !line.hasPrefix("#") else { return false }
            let words = line.split(whereSeparator: \.isWhitespace).dropFirst(behindName ? 1 : 0)
            return zip(words, words.dropFirst()).contains { type, key in
                ["ssh-", "ecdsa-", "sk-"].contains(where: type.hasPrefix) && key.hasPrefix("AAAA")
            }
        }
    }

    /// In base64 as in the file (PROTOCOL.key of OpenSSH): "openssh-key-v1" and NUL, then the length and name of the cipher.
    private static let magic = "b3BlbnNzaC1rZXktdjEA"
    private static let cipherNone = "AAAABG5vbmU"
}

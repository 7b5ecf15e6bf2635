import Crypto
import Foundation
import HTTPTypes
import NIOCore

/// What a delivery brings along to show that its sender knows the secret, and whether it holds for the body.
///
/// GitHub, Gitea and Forgejo sign the raw body with HMAC-SHA256; GitLab sends the secret itself. Compared in constant
/// time (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
struct WebhookSignature {
    private enum Proof {
        case code([UInt8])
        case token(String)
    }

    private let proof: Proof
    private let secret: String
    private var hmac: HMAC<SHA256>

    /// Nil when the headers show nothing that could be right, whatever the body is.
    init?(_ headers: HTTPFields, secret: String) {
        guard let proof = Self.proof(headers) else { return nil }
        self.proof = proof
        self.secret = secret
        hmac = HMAC<SHA256>(key: SymmetricKey(data: Data(secret.utf8)))
    }

    /// Takes in the next part of the body.
    mutating func update(_ part: ByteBuffer) {
        part.withUnsafeReadableBytes { hmac.update(data: $0) }
    }

    /// Whether it is right for the body taken in so far.
    var isValid: Bool {
        switch proof {
        case .code(let code): hmac.finalize() == code
        // Of both the digest, so that neither content nor length shows in the time.
        case .token(let token): SHA256.hash(data: Data(token.utf8)) == SHA256.hash(data: Data(secret.utf8))
        }
    }

    private static func proof(_ headers: HTTPFields) -> Proof? {
        for name in ["X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature"] {
            guard let field = HTTPField.Name(name), let value = headers[field] else { continue }
            return bytes(value.hasPrefix("sha256=") ? value.dropFirst(7) : value[...]).map { .code($0) }
        }
        return HTTPField.Name("X-Gitlab-Token").flatMap { headers[$0] }.map { .token($0) }
    }

    private static func bytes(_ hex: Substring) -> [UInt8]? {
        guard hex.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var rest = hex[...]
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }
}

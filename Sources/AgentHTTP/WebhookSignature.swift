import Crypto
import Foundation
import HTTPTypes
import NIOCore

/// Whether a webhook's sender knows the secret.
enum WebhookSignature {
    /// GitHub, Gitea and Forgejo sign the raw body with HMAC-SHA256; GitLab sends the secret itself. Compared in constant
    /// time (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
    static func isValid(_ headers: HTTPFields, body: ByteBufferView, secret: String) -> Bool {
        let key = SymmetricKey(data: Data(secret.utf8))
        for name in ["X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature"] {
            guard let field = HTTPField.Name(name), let value = headers[field] else { continue }
            let hex = value.hasPrefix("sha256=") ? value.dropFirst(7) : value[...]
            guard let code = bytes(hex) else { return false }
            return HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: body, using: key)
        }
        guard let field = HTTPField.Name("X-Gitlab-Token"), let token = headers[field] else { return false }
        // Of both the digest, so that neither content nor length shows in the time.
        return SHA256.hash(data: Data(token.utf8)) == SHA256.hash(data: Data(secret.utf8))
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

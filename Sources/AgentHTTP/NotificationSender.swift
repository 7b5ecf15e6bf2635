import CCurl
import Crypto
public import DeployAgent
import Foundation
import Settings
import Shell

/// Sends notifications by HTTP.
public enum NotificationSender {
    /// POSTs the deployment's JSON, signed where there is a secret; taken is what is answered with 2xx within 10 seconds.
    ///
    /// `X-Agent-Signature-256` is `sha256=` and the HMAC-SHA256 of the body, as GitHub has it; `X-Agent-Delivery` names the
    /// notification, the same at every attempt.
    /// - Returns: nil, or why it was not taken.
    @Sendable public static func send(_ delivery: Notifier.Delivery) async -> String? {
        let body: [UInt8]
        do {
            body = try Array(jsonBody(delivery.deployment))
        } catch {
            return "\(error)"
        }
        var headers = [
            "Content-Type: application/json", "User-Agent: deploy-agent", "X-Agent-Event: deployment",
            "X-Agent-Delivery: \(delivery.id)",
        ]
        if let secret = delivery.target.secret {
            let code = HMAC<SHA256>.authenticationCode(for: body, using: SymmetricKey(data: Data(secret.utf8)))
            headers.append(
                "X-Agent-Signature-256: sha256="
                    + code.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined())
        }
        let (url, stop, fixed) = (delivery.target.url, delivery.stop, headers)
        do {
            return try await onDedicatedThread("notify") { post(body, to: url, fixed, stop) }
        } catch {
            return "\(error)"
        }
    }

    private static func post(_ body: [UInt8], to url: String, _ headers: [String], _ stop: StopSignal) -> String? {
        var error = [CChar](repeating: 0, count: Int(AGENT_HTTP_ERROR_SIZE))
        var status = 0
        // As the curl program has it; the library itself looks at neither.
        let authorities = getenv("CURL_CA_BUNDLE") ?? getenv("SSL_CERT_FILE")
        let lines = headers.map { strdup($0) }
        defer { lines.forEach { free($0) } }
        let result = withExtendedLifetime(stop) {
            agent_http_post(
                url, lines.map { UnsafePointer($0) } + [nil], body, body.count, authorities, 10_000,
                { context in
                    guard let context else { return 0 }
                    return Unmanaged<StopSignal>.fromOpaque(context).takeUnretainedValue().isRequested ? 1 : 0
                }, Unmanaged.passUnretained(stop).toOpaque(), &status, &error)
        }
        guard result == 0 else {
            return String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return (200..<300).contains(status) ? nil : "HTTP \(status)"
    }
}

import Glibc

/// The HTTP server beside the check loop.
public struct HTTPSettings: Sendable, Equatable {
    /// `ENABLE_DEV_HEALTH`
    public var isEnabled: Bool
    /// Address or name to listen on.
    public var host: String
    public var port: Int
    /// `AGENT_API_TOKEN` or `AGENT_API_TOKEN_FILE`; without one there is no API.
    public var apiToken: SecretText?
    /// `AGENT_WEBHOOK_SECRET` or `AGENT_WEBHOOK_SECRET_FILE`; without one there is no webhook.
    public var webhookSecret: SecretText?
}

extension HTTPSettings {
    /// An address, or a host's name (RFC 1123, 2.1); nil for what can be neither. An IPv6 address may stand in brackets, as
    /// in a URL, and name its interface.
    package static func readHost(_ text: String) -> String? {
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        var address = in6_addr()
        if inet_pton(AF_INET6, String(bare.prefix { $0 != "%" }), &address) == 1 { return bare }
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
            (1...63).contains(label.count)
                && label.allSatisfy {
                    UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 | 0x20 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0
                        || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                }
        }
        return isName && text.utf8.count <= 253 ? text : nil
    }
}

import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks a URL whether the app answers.
public enum HTTPProbe {
    /// Whether an `http://` URL answers with 2xx or 3xx within 5 seconds; redirections are not followed.
    public static func answers(_ url: String) async -> Bool {
        guard let parts = URLComponents(string: url), let host = parts.host else { return false }
        let path = parts.percentEncodedPath.isEmpty ? "/" : parts.percentEncodedPath
        let target = path + (parts.percentEncodedQuery.map { "?\($0)" } ?? "")
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                (try? await status(host, parts.port ?? 80, target)).map { (200..<400).contains($0) } ?? false
            }
            group.addTask {
                // The deadline; cancelled, and so over at once, when the answer comes first.
                try? await Task.sleep(for: .seconds(5))
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }

    private static func status(_ host: String, _ port: Int, _ target: String) async throws -> UInt {
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(.seconds(5))
        // The brackets around an IPv6 address belong to URL and `Host` (RFC 3986, 3.2.2), not to the address.
        let address = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        let connection = try await bootstrap.connect(host: address, port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel)
            }
        }
        return try await connection.executeThenClose { inbound, outbound in
            let headers: HTTPHeaders = ["Host": "\(host):\(port)", "Connection": "close", "User-Agent": "deploy-agent"]
            // At once: a server that has answered the head and closed would make the second of two writes fail.
            try await outbound.write(contentsOf: [
                .head(HTTPRequestHead(version: .http1_1, method: .GET, uri: target, headers: headers)), .end(nil),
            ])
            for try await case .head(let head) in inbound { return head.status.code }
            return 0
        }
    }
}

import AsyncHTTPClient
import NIOCore
import NIOHTTP1

/// Asks a URL whether the app answers.
public enum HTTPProbe {
    /// Whether it answers with 2xx or 3xx within 5 seconds; redirections are not followed.
    public static func answers(_ url: String) async -> Bool {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout = .init(connect: .seconds(5), read: .seconds(5))
        // Used for a few seconds in the life of a container: made for each question, so that nothing of it stays.
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let status = try? await client.execute(HTTPClientRequest(url: url), timeout: .seconds(5)).status.code
        try? await client.shutdown()
        return status.map { (200..<400).contains($0) } ?? false
    }
}

import Foundation

/// tinyproxy on a free loopback port: what `https_proxy` names. It lets everything through, CONNECT to every port too.
public final class ForwardProxy: Sendable {
    public let port: Int
    private let server: KeptServer

    /// - Parameter credentials: user and password that it wants, separated by a space; nil for none.
    public init(credentials: String? = nil) async throws {
        port = try await freeLoopbackPort()
        let port = port
        let folder = try TemporaryFolder()
        try folder.write(
            "config",
            """
            Port \(port)
            Listen 127.0.0.1
            Allow 127.0.0.1
            \(credentials.map { "BasicAuth \($0)" } ?? "")
            Timeout 600
            MaxClients 100
            LogFile "\(folder.path)/log"
            LogLevel Connect
            """)
        server = try KeptServer(["tinyproxy -d -c '\(folder.path)/config'"], in: folder)
        try await server.started { listens(port) }
    }

    public var url: String { "http://127.0.0.1:\(port)" }

    /// What was asked so far: the log's lines with a request, such as `… CONNECT localhost:PORT HTTP/1.1`.
    public func requests() -> [String] {
        (server.folder.read("log") ?? "").split(separator: "\n").map(String.init).filter { $0.contains("Request (") }
    }
}

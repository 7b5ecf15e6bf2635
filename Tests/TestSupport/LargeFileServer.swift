import Foundation
import Glibc

/// A Git LFS server (giftless, from `Tests/requirements.txt`) on a free loopback port, to be reached through a
/// `GitWebServer` only.
public final class LargeFileServer: Sendable {
    public let port: Int
    private let server: KeptServer

    public init() async throws {
        port = try await freeLoopbackPort()
        let port = port
        let folder = try TemporaryFolder()
        try folder.write("serve.py", Self.program)
        let python = (#filePath as NSString).deletingLastPathComponent + "/../../.venv/bin/python"
        guard access(python, X_OK) == 0 else { throw PreparationFailed("\(python) is missing: run .ci/environment") }
        server = try KeptServer(["'\(python)' -W ignore serve.py \(port)"], in: folder)
        try await server.started { listens(port) }
    }

    /// Takes in what a clone has of large files, for the repository of that name below that location.
    public func store(_ clone: String, _ name: String = "up", below location: String = "private") async throws {
        try await prepared(
            "mkdir -p lfs-storage/\(location)/\(name); find '\(clone)/.git/lfs/objects' -type f -exec cp {} lfs-storage/\(location)/\(name)/ ';'",
            in: server.folder.path)
    }

    /// Forgets all that it has.
    public func forget() async throws { try await prepared("rm -r lfs-storage/*", in: server.folder.path) }

    private static let program = """
        import sys
        from giftless.app import init_app
        from werkzeug.serving import run_simple

        app = init_app(additional_config={
            "LEGACY_ENDPOINTS": False,
            "MIDDLEWARE": [{
                "class": "werkzeug.middleware.proxy_fix:ProxyFix", "kwargs": {"x_host": 1, "x_port": 1, "x_proto": 1},
            }],
        })
        run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
        """
}

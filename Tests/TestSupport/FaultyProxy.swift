import Foundation

/// An HTTP server in front of another's repositories that breaks what it passes on, as a bad line or a failing forge
/// does: of a fetch by protocol version 2 the answer with the pack. All else is passed on as it is.
public final class FaultyProxy: Sendable {
    /// What becomes of the requests that come from now on.
    public enum Mode: String, Sendable {
        /// Passed on.
        case none
        /// Half of the pack comes, then nothing more, on a connection that stays open.
        case stall
        /// Half of the pack comes, then the connection is closed.
        case close
        /// In place of the answer comes one of random bytes, the same every time.
        case garbage
        /// No request is answered at all, on connections that stay open.
        case stallRefs = "stall_refs"
    }

    public let port: Int
    private let server: KeptServer

    /// - Parameter upstream: what names are appended to: `plainOpenURL("")` of a `GitWebServer`, say.
    public init(upstream: String) async throws {
        port = try await freeLoopbackPort()
        let port = port
        let folder = try TemporaryFolder()
        try folder.write("proxy.py", Self.program)
        try folder.write("mode", Mode.none.rawValue)
        server = try KeptServer(["python3 proxy.py \(port) '\(upstream)'"], in: folder)
        try await server.started { listens(port) }
    }

    public func url(_ name: String) -> String { "http://localhost:\(port)/\(name)" }

    public func setMode(_ mode: Mode) throws {
        try mode.rawValue.write(toFile: server.folder.path + "/mode", atomically: true, encoding: .utf8)
    }

    private static let program = #"""
        import gzip, http.client, http.server, random, sys, urllib.parse

        upstream = urllib.parse.urlsplit(sys.argv[2])

        class Proxy(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with open("mode") as file:
                    mode = file.read()
                if mode == "stall_refs":
                    return self.wait()
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                isPacked = self.headers.get("Content-Encoding") == "gzip"
                isFetch = b"command=fetch" in (gzip.decompress(body) if isPacked else body)
                connection = http.client.HTTPConnection(upstream.hostname, upstream.port)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection.request(self.command, upstream.path.rstrip("/") + self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                length = len(content)
                if isFetch and mode == "garbage":
                    content = random.Random(1).randbytes(4096)
                elif isFetch and mode in ("stall", "close") and b"PACK" in content:
                    length = (content.index(b"PACK") + len(content)) // 2
                self.send_response(answer.status)
                for name in ("Content-Type", "Cache-Control", "WWW-Authenticate"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                if length > 0:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(content[:length]), content[:length]))
                if length >= len(content):
                    self.wfile.write(b"0\r\n\r\n")
                elif mode == "stall":
                    self.wait()
                else:
                    self.close_connection = True

            do_POST = do_GET

            def wait(self):
                # Until the other side goes.
                self.close_connection = True
                while self.connection.recv(65536):
                    pass

        http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()
        """#
}

import Foundation
import Glibc
import Testing

/// Remotes that a server of git's own hands out over the network, on loopback.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct ServedRemoteTests {
    let box: Box
    let port: String

    init() async throws {
        box = try await Box()
        port = try await box.freePort()
    }

    /// git's own programs behind Python's server for CGI programs: git's smart protocol over http.
    private static let http = """
        import http.server, os, sys
        os.makedirs("cgi-bin", exist_ok=True)
        with open("cgi-bin/git", "w") as f:
            f.write("#!/bin/sh\\nGIT_PROJECT_ROOT='%s' GIT_HTTP_EXPORT_ALL=1 exec git http-backend\\n" % os.getcwd())
        os.chmod("cgi-bin/git", 0o755)
        http.server.CGIHTTPRequestHandler.have_fork = False
        http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.CGIHTTPRequestHandler).serve_forever()
        """

    /// Takes no credentials, and notes each request that had some.
    private static let refusing = """
        import http.server, sys
        class Refusing(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                with open("requests", "a") as f: f.write(self.headers.get("Authorization", "none") + "\\n")
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=x")
                self.send_header("Content-Length", "0")
                self.end_headers()
        http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Refusing).serve_forever()
        """

    @Test("credentials that a server of large files refuses are shown to it once, and that is permanent")
    func refusedLargeFiles() async throws {
        try box.write(Self.refusing, to: box.root + "/refusing.py")
        _ = try box.start(program: ["python3", "refusing.py", port])
        try await until("it listens") {
            try await box.start(program: ["curl", "-s", "-o", "/dev/null", "-X", "POST", "http://127.0.0.1:\(port)/"])
                .ended().code == 0
        }
        unlink(box.root + "/requests")
        try await box.commit([
            ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:\(port)/lfs\n",
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "big.bin":
                "version https://git-lfs.github.com/spec/v1\noid sha256:\(String(repeating: "a", count: 64))\nsize 5\n",
        ])
        try box.write("http://deploy:s3cret-w0rd@127.0.0.1:\(port)\n", to: box.root + "/credentials")
        let once = try await box.once([
            "AGENT_CREDENTIALS_FILE": box.root + "/credentials", "AGENT_GIT_TIMEOUT": "30s",
        ])
        #expect(once.code == 78 && once.json["error_kind"].string == "permanent", "\(once)")
        let requests = (box.text(box.root + "/requests") ?? "").split(separator: "\n")
        #expect(requests.filter { $0 != "none" }.count == 1 && requests.count <= 4, "\(requests)")
        #expect(!once.description.contains("s3cret"))
        #expect(try await box.sh("ls state/workspaces/*/repo.git | grep refused || true") == "")
        // git-lfs writes a file about each failure.
        #expect(try await box.sh("find state -path '*/lfs/logs/*'") == "")
    }

    @Test("commits are deployed from a remote that is served over the network", arguments: ["git", "http"])
    func served(scheme: String) async throws {
        let (url, command): (String, [String])
        switch scheme {
        case "git":
            url = "git://127.0.0.1:\(port)/up.git"
            command = [
                "git", "daemon", "--export-all", "--base-path=\(box.root)", "--listen=127.0.0.1", "--port=\(port)",
                "--reuseaddr",
            ]
        default:
            url = "http://127.0.0.1:\(port)/cgi-bin/git/up.git"
            try box.write(Self.http, to: box.root + "/served.py")
            command = ["python3", "served.py", port]
        }
        let server = try box.start(program: command)
        try await until("the remote is served", details: { server.errors }) {
            try await box.start(program: ["git", "ls-remote", url]).ended().code == 0
        }
        let settings = [
            "GITHUB_REPO_URL": url, "GITHUB_BRANCH": "main", "PRE_DEPLOY_COMMAND": "cat app.txt >> $OUT/pre",
        ]
        #expect(try await box.once(settings).outcome == "deployed")
        let second = try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.head() == second && box.lines("pre") == ["v1", "v2"])
        #expect(try await box.once(settings).outcome == "unchanged")
    }
}

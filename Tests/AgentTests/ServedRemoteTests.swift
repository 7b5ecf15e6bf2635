import Foundation
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

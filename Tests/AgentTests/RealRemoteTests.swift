import Foundation
import Glibc
import TestSupport
import Testing

/// The agent with remotes as teams have them: https with users and a private authority, ssh, submodules, signed commits.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct RealRemoteTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func web(_ password: String = "first-t0ken") async throws -> GitWebServer {
        try await GitWebServer(serving: box.root, users: ["deploy": password])
    }

    private func settings(_ server: GitWebServer, _ more: [String: String] = [:]) -> [String: String] {
        [
            "GITHUB_REPO_URL": server.url("up.git"), "AGENT_CA_FILE": server.authorityFile, "GITHUB_USERNAME": "deploy",
        ].merging(more) { $1 }
    }

    /// Of an agent that serves HTTP.
    private func get(_ port: String, _ path: String) async throws -> (code: Int, body: String) {
        let ended = try await box.start(
            program: ["curl", "-s", "-m", "5", "-w", "\n%{http_code}", "http://127.0.0.1:\(port)\(path)"]
        ).ended()
        guard ended.code == 0, let cut = ended.output.lastIndex(of: "\n") else { return (0, "") }
        return (Int(ended.output[ended.output.index(after: cut)...]) ?? 0, String(ended.output[..<cut]))
    }

    @Test(
        "a token that is refused is told everywhere as what waiting does not help; a new one in its file counts without a restart"
    )
    func rotation() async throws {
        let server = try await web()
        defer { withExtendedLifetime(server) {} }
        let port = try await box.freePort()
        try box.write("wrong-t0ken\n", to: box.root + "/token")
        let settings = settings(
            server,
            [
                "GITHUB_TOKEN_FILE": box.root + "/token", "GITHUB_SYNC_INTERVAL": "100ms", "ENABLE_DEV_HEALTH": "true",
                "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
            ])
        let once = try await box.once(settings)
        #expect(
            once.code == 78 && once.outcome == "unreachable" && once.json["error_kind"].string == "permanent", "\(once)"
        )
        let agent = try box.start("run", settings: settings)
        try await until("it is refused", details: { agent.errors }) {
            try await box.json("status", settings: settings)["last_error_kind"].string == "permanent"
        }
        let ready = try await get(port, "/readyz")
        #expect(ready.code == 503 && ready.body.contains("\"error_kind\":\"permanent\""), "\(ready)")
        #expect(ready.body.contains("Authentication failed"))
        let metrics = try await get(port, "/metrics").body
        #expect(metrics.contains("deploy_agent_check_error{kind=\"permanent\"} 1\n"))
        #expect(metrics.contains("deploy_agent_check_error{kind=\"transient\"} 0\n"))
        #expect(try await box.agent("status", settings: settings).output.contains("waiting does not help"))
        // It is said once for each time that it was asked, not at every check.
        #expect(agent.errors.contains("or as soon as credentials or settings change"))
        try box.write("first-t0ken\n", to: box.root + "/token")
        try await until("the commit is deployed", details: { agent.errors }) { try await box.history().count == 1 }
        try await until("it is ready") { try await get(port, "/readyz").code == 200 }
        #expect(try await box.json("status", settings: settings)["last_error_kind"].isNull)
        // And the other way round: the server's side changes first.
        try await server.setPassword("second-t0ken", for: "deploy")
        try await until("it is refused again", details: { agent.errors }) {
            try await box.json("status", settings: settings)["last_error_kind"].string == "permanent"
        }
        try box.write("second-t0ken\n", to: box.root + "/token")
        try await box.commit(["app.txt": "v2\n"])
        try await until("the next commit is deployed", details: { agent.errors }) { try await box.history().count == 2 }
        try await agent.send(SIGTERM)
        let ended = try await agent.ended()
        #expect(!"\(ended)".contains("t0ken"))
        #expect(try await box.sh("grep -rl t0ken state ws || true").isEmpty)
    }

    @Test(
        "what waiting does not help, and who asks for patience, is asked less and less often; what may be better at every check",
        arguments: [(403, "permanent", true), (429, "transient", true), (503, "transient", false)])
    func backoff(status: Int, kind: String, isLonger: Bool) async throws {
        let server = try await web()
        defer { withExtendedLifetime(server) {} }
        let port = try await box.freePort()
        let settings = settings(
            server,
            [
                "GITHUB_REPO_URL": server.statusURL(status), "GITHUB_SYNC_INTERVAL": "50ms",
                "ENABLE_DEV_HEALTH": "true",
                "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
            ])
        let agent = try box.start("run", settings: settings)
        func asked() -> Int { server.requests().count { $0.contains("/status/\(status)/") } }
        func checks() async throws -> Int {
            let line = try await get(port, "/metrics").body.split(separator: "\n").first {
                $0.hasPrefix("deploy_agent_checks_total{outcome=\"unreachable\"} ")
            }
            return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
        }
        try await until("thirty checks were made", details: { agent.errors }) { try await checks() >= 30 }
        // 0.1, 0.3, 0.7, 1.5, 3.1 seconds after the first one: five or six times while there are thirty checks.
        let (questions, count) = (asked(), try await checks())
        #expect(isLonger ? questions * 2 < count : questions >= 25, "asked \(questions) times in \(count) checks")
        #expect(try await get(port, "/metrics").body.contains("deploy_agent_check_error{kind=\"\(kind)\"} 1\n"))
        #expect(try await box.json("status", settings: settings)["last_error_kind"].string == kind)
        let ready = try await get(port, "/readyz")
        #expect(ready.code == 503 && ready.body.contains("\"error_kind\":\"\(kind)\""), "\(ready)")
        // Nothing has been deployed yet; only what waiting does not help is the reason.
        #expect(ready.body.contains("starting") == (kind == "transient"))
        let before = asked()
        try await agent.send(SIGHUP)
        try await until("it asked at once", within: 10, details: { agent.errors }) { asked() > before }
    }

    @Test("what a server answers has its exit code: 69 where it may be better, 78 where waiting does not help")
    func transient() async throws {
        let server = try await web()
        defer { withExtendedLifetime(server) {} }
        for (url, code, kind) in [
            (server.statusURL(503), 69, "transient"), (server.statusURL(429), 69, "transient"),
            (server.statusURL(403), 78, "permanent"), (server.statusURL(404), 78, "permanent"),
        ] {
            let once = try await box.once(settings(server, ["GITHUB_REPO_URL": url]))
            #expect(once.code == code && once.json["error_kind"].string == kind, "\(url): \(once)")
        }
        let untrusted = try await box.once(settings(server, ["AGENT_CA_FILE": "", "GITHUB_TOKEN": "first-t0ken"]))
        #expect(untrusted.code == 78 && untrusted.ended.errors.contains("AGENT_CA_FILE"), "\(untrusted)")
    }

    @Test("submodules come with the credentials of their own hosts; no credential is in an argument, a file or a log")
    func submodules() async throws {
        let (server, other) = (
            try await web(), try await GitWebServer(serving: box.root, users: ["ci": "other-s3cret"])
        )
        defer { withExtendedLifetime((server, other)) {} }
        let authorities = [server, other].compactMap { box.text($0.authorityFile) }.joined()
        try box.write(authorities, to: box.root + "/ca.pem")
        try box.write("https://ci:other-s3cret@localhost:\(other.httpsPort)\n", to: box.root + "/credentials")
        try await box.sh(
            """
            git init -q -b main lib; cd lib; echo lib > lib.txt; git add -A; git commit -qm lib; cd ..
            git clone -q --bare lib lib.git; git clone -q --bare lib rel.git; cd dev
            git -c protocol.file.allow=always submodule --quiet add ../lib far
            git -c protocol.file.allow=always submodule --quiet add ../lib near
            git config -f .gitmodules submodule.far.url '\(other.url("lib.git"))'
            git config -f .gitmodules submodule.near.url ../rel.git
            """)
        let commit = try await box.commit()
        // Every command line of this machine that names git is looked at while it runs.
        try box.install("git", "printf '%s\\n' \"$*\" >> $OUT/arguments; exec /usr/bin/git \"$@\"\n")
        let settings = settings(
            server,
            [
                "GITHUB_TOKEN": "first-t0ken", "AGENT_CA_FILE": box.root + "/ca.pem",
                "AGENT_CREDENTIALS_FILE": box.root + "/credentials", "AGENT_LOG_LEVEL": "trace",
                "PRE_DEPLOY_COMMAND": "cat far/lib.txt near/lib.txt > made",
            ])
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed" && once.deployment["commit"].string == commit, "\(once)")
        #expect(box.text(box.workspace + "/made") == "lib\nlib\n")
        #expect(try await box.sh("git status --porcelain --untracked-files=no", in: box.workspace).isEmpty)
        for secret in ["first-t0ken", "other-s3cret"] {
            #expect(!"\(once)".contains(secret))
            #expect(try await box.sh("grep -rlF \(secret) state ws out || true").isEmpty)
        }
        #expect(box.lines("arguments").count > 10)
        // The one's credentials did not go to the other.
        let tokens = ["deploy:first-t0ken", "ci:other-s3cret"].map { Data($0.utf8).base64EncodedString() }
        #expect(await eventually { other.requests().contains { $0.contains(tokens[1]) } })
        #expect(
            !other.requests().contains { $0.contains(tokens[0]) }
                && !server.requests().contains { $0.contains(tokens[1]) })
        // Off: an empty folder.
        let plain = try await box.once(
            settings.merging([
                "AGENT_SUBMODULES": "off", "WORKSPACE_PATH": box.root + "/plain", "PRE_DEPLOY_COMMAND": "",
            ]) { $1 })
        #expect(plain.outcome == "deployed" && !FileManager.default.fileExists(atPath: box.root + "/plain/far/lib.txt"))
    }

    @Test("one submodule that cannot be had: nothing runs, nothing moves", arguments: ["in-place", "symlink"])
    func missingSubmodule(mode: String) async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": "touch $OUT/ran", "AGENT_PUBLISH": mode, "PRE_DEPLOY_GATE": "false",
        ]
        #expect(try await box.once(settings.merging(["PRE_DEPLOY_COMMAND": ""]) { $1 }).outcome == "deployed")
        try await box.sh(
            """
            git init -q -b main lib; cd lib; git commit -q --allow-empty -m lib; cd ../dev
            git -c protocol.file.allow=always submodule --quiet add ../lib far
            """)
        try await box.commit(["app.txt": "v2\n"])
        try await box.sh("mv lib away")
        let once = try await box.once(settings)
        #expect(once.code == 69 && once.outcome == "unreachable" && !box.has("ran"), "\(once)")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        #expect(try await box.history().count == 1)
    }

    @Test("a commit comes over ssh with its key and its host's; without the host's key nothing comes")
    func ssh() async throws {
        let server = try await SSHServer()
        defer { withExtendedLifetime(server) {} }
        let settings = [
            "GITHUB_REPO_URL": server.url(box.upstream), "AGENT_SSH_KEY_FILE": try #require(server.keys["ed25519"]),
        ]
        let unknown = try await box.once(settings)
        #expect(unknown.code == 78 && unknown.ended.errors.contains("AGENT_SSH_KNOWN_HOSTS_FILE"), "\(unknown)")
        #expect(
            try await box.once(settings.merging(["AGENT_SSH_KNOWN_HOSTS_FILE": server.knownHosts]) { $1 }).outcome
                == "deployed")
        let off = try await box.once(settings.merging(["AGENT_SSH_HOST_KEY_CHECK": "false"]) { $1 }, force: true)
        #expect(off.outcome == "deployed" && off.ended.errors.contains("AGENT_SSH_HOST_KEY_CHECK is off"), "\(off)")
    }

    @Test(
        "an unsigned commit is not staged, not run, its spec is not read; it is on record as failed until somebody says otherwise"
    )
    func signatures() async throws {
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f key; sed 's/^/a@t /' key.pub > signers")
        try box.write("a@t \(box.text(box.root + "/key.pub") ?? "")", to: box.root + "/signers")
        let settings = [
            "AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers",
            "PRE_DEPLOY_COMMAND": "touch $OUT/ran",
        ]
        try await box.commit([
            "appspec.yaml":
                "name: other\nenvs:\n- {key: AGENT_VERIFY_COMMIT, value: 'off'}\n- {key: POST_DEPLOY_COMMAND, value: touch $OUT/ran}\n"
        ])
        let refused = try await box.once(settings)
        #expect(refused.code == 1 && refused.outcome == "failed" && !box.has("ran"), "\(refused)")
        #expect(refused.deployment["app"].string == "ws" && refused.runs.isEmpty)
        #expect(refused.deployment["error_message"].string?.contains("no signature") == true)
        #expect(!FileManager.default.fileExists(atPath: box.workspace))
        #expect(try await box.once(settings).outcome == "unchanged")
        // By hand neither.
        try await box.sh("git clone -q up.git own")
        try box.write("version: 1\ntasks:\n- {id: a-v1, command: touch $OUT/ran}\n", to: box.root + "/own/deploy.yaml")
        try await box.sh("git add -A; git commit -qm tasks", in: box.root + "/own")
        let own = settings.merging(["WORKSPACE_PATH": box.root + "/own", "GITHUB_REPO_URL": ""]) { $1 }
        let byHand = try await box.agent("tasks", "run", settings: own)
        #expect(byHand.code != 0 && !box.has("ran") && byHand.errors.contains("signature"), "\(byHand)")
        let files = try await box.sh("find state -name 'appspec.yaml' -o -name stage")
        #expect(files.isEmpty)
        // `agent retry` asks again.
        #expect(try await box.agent("retry", settings: settings).code == 0)
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh(
            "git -c gpg.format=ssh -c user.signingKey=../key commit -q --allow-empty -S -m signed; git push -q origin HEAD:main",
            in: box.work)
        let good = try await box.once(settings)
        #expect(good.outcome == "deployed" && box.has("ran"), "\(good)")
        // What was signed by another is refused as well, and so is a hook's repository without a signature.
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f other")
        try await box.sh(
            "git -c gpg.format=ssh -c user.signingKey=../other commit -q --allow-empty -S -m forged; git push -q origin HEAD:main",
            in: box.work)
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh(
            "git reset -q --hard HEAD~1; git push -q -f origin HEAD:main; git init -q -b main ../jobs; git -C ../jobs commit -q --allow-empty -m job",
            in: box.work)
        let hook = try await box.once(
            settings.merging(["PRE_DEPLOY_REPO_URL": "file://\(box.root)/jobs"]) { $1 }, force: true)
        #expect(hook.outcome == "failed" && hook.runs[0]["status"].string == "failed", "\(hook)")
    }

    @Test("a signature that this machine cannot check is no verdict: the commit is tried again")
    func machine() async throws {
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f key; printf 'a@t ' > signers; cat key.pub >> signers")
        try await box.sh(
            "git -c gpg.format=ssh -c user.signingKey=../key commit -q --allow-empty -S -m signed; git push -q origin HEAD:main",
            in: box.work)
        let settings = ["AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers"]
        let full = try await box.once(settings.merging(["TMPDIR": "/nonexistent"]) { $1 })
        #expect(full.code == 1 && full.deployment.isNull, "\(full)")
        #expect(try await box.once(settings).outcome == "deployed")
    }

    @Test("a start asks again while its time lasts, also what refused")
    func start() async throws {
        let app = try box.start(
            "exec", "--", "sh", "-c", "touch $OUT/app; sleep 1000",
            settings: ["GITHUB_BRANCH": "later", "GITHUB_SYNC_INTERVAL": "1h"])
        try await until("it was refused", details: { app.errors }) { app.errors.contains("has no branch or tag") }
        try await box.sh("git push -q origin HEAD:later", in: box.work)
        try await until("the app runs", details: { app.errors }) { box.has("app") }
    }

    @Test("large files that are left as pointers are a warning of the deployment")
    func pointers() async throws {
        try await box.commit([
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "a.bin":
                "version https://git-lfs.github.com/spec/v1\noid sha256:\(String(repeating: "0", count: 64))\nsize 1\n",
        ])
        let once = try await box.once(["AGENT_GIT_LFS": "off"])
        #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 1, "\(once)")
        #expect(once.ended.errors.contains("1 files are Git LFS pointers") && once.ended.errors.contains("a.bin"))
    }

    @Test("a change of the depth, and of the remote, counts on what is there")
    func changes() async throws {
        for version in 2...4 { try await box.commit(["app.txt": "v\(version)\n"]) }
        #expect(try await box.once().outcome == "deployed")
        #expect(try await box.sh("git rev-list --count HEAD", in: box.workspace) == "1")
        try await box.commit(["app.txt": "v5\n"])
        #expect(try await box.once(["AGENT_GIT_DEPTH": "0"]).outcome == "deployed")
        #expect(try await box.sh("git rev-list --count HEAD", in: box.workspace) == "5")
        try await box.sh("git clone -q --bare up.git moved.git; rm -rf up.git")
        let moved = ["GITHUB_REPO_URL": "file://\(box.root)/moved.git", "AGENT_GIT_DEPTH": "0"]
        try await box.sh("git remote set-url origin ../moved.git", in: box.work)
        try await box.commit(["app.txt": "v6\n"])
        #expect(try await box.once(moved).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v6\n")
    }
}

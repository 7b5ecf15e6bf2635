import Foundation
import Glibc
import TestSupport
import Testing

/// The agent with remotes as teams have them: https with users and a private authority, ssh, submodules, large files.
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
        // It stays to be seen when the command has ended.
        let left = try await box.json("status", settings: settings)
        #expect(left["last_error_kind"].string == "permanent" && left["lock"].isNull && left["next_check"].isNull)
        #expect(
            left["last_error"].string?.contains("Authentication failed") == true && left["last_check"].string != nil)
        #expect(try await box.agent("status", settings: settings).output.contains("waiting does not help"))
        let agent = try box.start("run", settings: settings)
        try await until("it is refused", details: { agent.errors }) {
            let status = try await box.json("status", settings: settings)
            return status["last_error_kind"].string == "permanent" && status["next_check"].string != nil
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
        try await until("thirty checks were made", details: { agent.errors }) {
            try await checksUnreachable(port) >= 30
        }
        if status == 429 {
            // As long as its Retry-After says.
            let line = try #require(agent.errors.split(separator: "\n").first { $0.contains("asked again at ") })
            let said = try Date(String(line.prefix(24)), strategy: Self.form)
            let pause = try #require(askedAgain(in: String(line))).timeIntervalSince(said)
            #expect((5...7).contains(pause), "\(line)")
        }
        // 0.1, 0.3, 0.7, 1.5, 3.1 seconds after the first one: five or six times while there are thirty checks.
        let (questions, count) = (asked(), try await checksUnreachable(port))
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
            let entrypoint = try await box.agent(
                "exec", "--", "touch", box.out + "/app",
                settings: settings(server, ["GITHUB_REPO_URL": url, "AGENT_START_TIMEOUT": "100ms"]))
            #expect(entrypoint.code == code && !box.has("app"), "\(url): \(entrypoint)")
        }
        let untrusted = try await box.once(settings(server, ["AGENT_CA_FILE": "", "GITHUB_TOKEN": "first-t0ken"]))
        #expect(untrusted.code == 78 && untrusted.ended.errors.contains("AGENT_CA_FILE"), "\(untrusted)")
    }

    @Test(
        "submodules come with the credentials of their own hosts; no credential is in an argument, a file or a log",
        arguments: ["in-place", "symlink"])
    func submodules(mode: String) async throws {
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
        let settings = settings(
            server,
            [
                "GITHUB_TOKEN": "first-t0ken", "AGENT_CA_FILE": box.root + "/ca.pem",
                "AGENT_CREDENTIALS_FILE": box.root + "/credentials", "AGENT_LOG_LEVEL": "trace",
                "PRE_DEPLOY_COMMAND": "cat far/lib.txt near/lib.txt > made", "AGENT_PUBLISH": mode,
                "POST_DEPLOY_REPO_URL": server.url("rel.git"), "POST_DEPLOY_COMMAND": "cat lib.txt",
                // The agent, git, its helpers, the hooks: each says how it was called.
                "LD_PRELOAD": try await Preload.library, "PRELOAD_ARGUMENTS": box.out + "/arguments",
            ])
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed" && once.deployment["commit"].string == commit, "\(once)")
        #expect(box.text(box.workspace + "/made") == "lib\nlib\n")
        #expect(try await box.sh("git status --porcelain --untracked-files=no", in: box.workspace).isEmpty)
        for secret in ["first-t0ken", "other-s3cret"] {
            #expect(!"\(once)".contains(secret))
            #expect(try await box.sh("grep -rlF \(secret) state ws out || true").isEmpty)
        }
        let called = box.lines("arguments").map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
        for program in ["agent run-once", "git fetch", "git-remote-https https:", "bash -c"] {
            #expect(called.contains { $0.contains(program) }, "\(program): \(called)")
        }
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

    @Test("a submodule that is refused is asked for less and less often; the next commit does not wait for that")
    func refusedSubmodule() async throws {
        let server = try await web()
        defer { withExtendedLifetime(server) {} }
        #expect(try await box.once().outcome == "deployed")
        try await box.sh(
            """
            git init -q -b main lib; git -C lib commit -q --allow-empty -m lib; cd dev
            git -c protocol.file.allow=always submodule --quiet add ../lib far
            git config -f .gitmodules submodule.far.url '\(server.statusURL(403))'
            """)
        try await box.commit()
        let port = try await box.freePort()
        // git writes this file anew each time that its credentials were good.
        let line = "https://deploy:first-t0ken@localhost:\(server.httpsPort)\n"
        try box.write(line, to: box.root + "/.git-credentials")
        try box.write("[credential]\n\thelper = store\n", to: box.root + "/.gitconfig")
        let settings = settings(
            server,
            [
                "GITHUB_USERNAME": "", "GITHUB_SYNC_INTERVAL": "100ms", "ENABLE_DEV_HEALTH": "true",
                "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
            ])
        let agent = try box.start("run", settings: settings)
        var againAt: Date?
        try await until("it is left alone for some seconds", details: { agent.errors }) {
            againAt = later(seconds: 12, in: agent.errors)
            return againAt != nil
        }
        let asked = server.requests().count { $0.contains("/status/403/") }
        let checks = try await checksUnreachable(port)
        #expect(asked * 2 < checks, "asked \(asked) times in \(checks) checks")
        let status = try await box.json("status", settings: settings)
        #expect(status["last_error_kind"].string == "permanent", "\(status)")
        try await box.sh("git rm -q far", in: box.work)
        try await box.commit(["app.txt": "v2\n"])
        try await until("the next commit is deployed", details: { agent.errors }) {
            try await box.history().count == 2
        }
        let started = try await latestStart()
        #expect(started < againAt ?? .distantPast, "\(agent.errors)")
    }

    private static let form = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    /// The time that the log gives for the next question.
    private func askedAgain(in log: String) -> Date? {
        guard let range = log.range(of: "asked again at ", options: .backwards) else { return nil }
        return try? Date(String(log[range.upperBound...].prefix { $0 != "," && !$0.isWhitespace }), strategy: Self.form)
    }

    /// The same, when it is so far away.
    private func later(seconds: Double, in log: String) -> Date? {
        askedAgain(in: log).flatMap { $0.timeIntervalSinceNow > seconds ? $0 : nil }
    }

    private func latestStart() async throws -> Date {
        try Date(try #require(try await box.history()[0]["started_at"].string), strategy: Self.form)
    }

    private func checksUnreachable(_ port: String) async throws -> Int {
        let line = try await get(port, "/metrics").body.split(separator: "\n").first {
            $0.hasPrefix("deploy_agent_checks_total{outcome=\"unreachable\"} ")
        }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }

    @Test("what the user's own git has of credentials counts, and ends the longer wait when it changes")
    func usersOwn() async throws {
        let server = try await web()
        defer { withExtendedLifetime(server) {} }
        func credentials(_ password: String) throws {
            let line = "https://deploy:\(password)@localhost:\(server.httpsPort)\n"
            try box.write(line, to: box.root + "/.git-credentials")
        }
        try credentials("wrong-t0ken")
        // As a program that only reads them: git's own `store` removes what is refused.
        try box.write(
            "[credential]\n\thelper = \"!f() { test $1 = get && git credential-store get; }; f\"\n",
            to: box.root + "/.gitconfig")
        let settings = settings(server, ["GITHUB_USERNAME": "", "GITHUB_SYNC_INTERVAL": "100ms"])
        let agent = try box.start("run", settings: settings)
        var againAt: Date?
        try await until("it is left alone for some seconds", details: { agent.errors }) {
            againAt = later(seconds: 6, in: agent.errors)
            return againAt != nil
        }
        try credentials("first-t0ken")
        try await until("it is deployed", details: { agent.errors }) { try await box.history().count == 1 }
        let started = try await latestStart()
        #expect(started < againAt ?? .distantPast, "\(agent.errors)")
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
        for type in ["rsa", "ecdsa"] {
            let other = [
                "AGENT_SSH_KEY_FILE": try #require(server.keys[type]), "AGENT_SSH_KNOWN_HOSTS_FILE": server.knownHosts,
            ]
            #expect(try await box.once(settings.merging(other) { $1 }, force: true).outcome == "deployed", "\(type)")
        }
        let changed = try await box.once(
            settings.merging(["AGENT_SSH_KNOWN_HOSTS_FILE": server.otherKnownHosts]) { $1 }, force: true)
        #expect(changed.code == 78 && changed.json["error_kind"].string == "permanent", "\(changed)")
        let stranger = try await box.once(
            settings.merging([
                "AGENT_SSH_KEY_FILE": server.strangerKey, "AGENT_SSH_KNOWN_HOSTS_FILE": server.knownHosts,
            ]) { $1 }, force: true)
        #expect(stranger.code == 78 && stranger.ended.errors.contains("AGENT_SSH_KEY_FILE"), "\(stranger)")
        let off = try await box.once(settings.merging(["AGENT_SSH_HOST_KEY_CHECK": "false"]) { $1 }, force: true)
        #expect(off.outcome == "deployed" && off.ended.errors.contains("AGENT_SSH_HOST_KEY_CHECK is off"), "\(off)")
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

    @Test(
        "large files come over https with the remote's credentials, before anything runs; without them nothing runs",
        arguments: ["in-place", "symlink"])
    func largeFiles(mode: String) async throws {
        let lfs = try await LargeFileServer()
        let server = try await GitWebServer(serving: box.root, users: ["deploy": "first-t0ken"], largeFiles: lfs)
        defer { withExtendedLifetime((lfs, server)) {} }
        try await box.sh(
            """
            git lfs install --local --skip-repo > /dev/null
            echo '*.bin filter=lfs diff=lfs merge=lfs -text' > .gitattributes; seq 100000 > big.bin
            """, in: box.work)
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.sh("git cat-file -s HEAD:big.bin", in: box.work) == "131")
        let settings = settings(
            server,
            [
                "GITHUB_TOKEN": "first-t0ken", "AGENT_PUBLISH": mode, "AGENT_LOG_LEVEL": "trace",
                "HOME": box.root + "/home", "PRE_DEPLOY_COMMAND": "wc -l < big.bin >> $OUT/pre",
                "LD_PRELOAD": try await Preload.library, "PRELOAD_ARGUMENTS": box.out + "/arguments",
            ])
        // Of the user's own: nothing of it counts for the store.
        try box.write("[lfs]\n\tstorage = \(box.root)/elsewhere\n", to: box.root + "/home/.gitconfig")
        // The server does not have it: nothing has begun.
        let missing = try await box.once(settings)
        #expect(missing.outcome == "unreachable" && missing.deployment.isNull && !box.has("pre"), "\(missing)")
        #expect(missing.ended.errors.contains("fetch the large files"), "\(missing)")
        try await lfs.store(box.work)
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 0, "\(once)")
        #expect(box.lines("pre") == ["100000"])
        try await box.sh("cmp ws/big.bin dev/big.bin")
        #expect(server.requests().contains { $0.contains("/private/up.git/info/lfs/objects/storage/") })
        // What is here is not asked for again, and what has changed comes.
        try await lfs.forget()
        try await box.sh("rm -r .git/lfs/objects; seq 5 > small.bin", in: box.work)
        try await box.commit()
        try await lfs.store(box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        try await box.sh("cmp ws/big.bin dev/big.bin; cmp ws/small.bin dev/small.bin")
        // The way back needs neither the remote nor its large files.
        try await box.sh("cp big.bin ../first.bin; seq 7 > big.bin", in: box.work)
        try await box.commit()
        try await lfs.store(box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        try await lfs.forget()
        let back = try await box.agent(
            "rollback", settings: settings.merging(["https_proxy": "http://127.0.0.1:9"]) { $1 })
        #expect(back.code == 0, "\(back)")
        try await box.sh("cmp ws/big.bin first.bin; cmp ws/small.bin dev/small.bin")
        #expect(box.lines("arguments").contains { $0.contains("git-lfs") || $0.contains("git lfs") })
        #expect(!"\(once)".contains("first-t0ken") && !"\(missing)".contains("first-t0ken"))
        #expect(try await box.sh("grep -rlF first-t0ken state ws out || true").isEmpty)
    }

    @Test("user and password in the URL are used, and stand nowhere", arguments: ["in-place", "symlink"])
    func credentialsInURL(mode: String) async throws {
        let server = try await web("url p@ss")
        defer { withExtendedLifetime(server) {} }
        let url = server.url("up.git").replacing("https://", with: "https://deploy:url%20p%40ss@")
        let settings = settings(
            server,
            [
                "GITHUB_REPO_URL": url, "GITHUB_USERNAME": "", "AGENT_PUBLISH": mode, "AGENT_LOG_LEVEL": "trace",
                "LD_PRELOAD": try await Preload.library, "PRELOAD_ARGUMENTS": box.out + "/arguments",
                "POST_DEPLOY_COMMAND": "git config --get-all remote.origin.url; echo $GITHUB_REPO_URL > $OUT/url",
            ])
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed", "\(once)")
        box.remove("url")
        let status = try await box.agent("status", settings: settings)
        for secret in ["url%20p%40ss", "url p@ss"] {
            #expect(!"\(once)\(status)".contains(secret))
            #expect(try await box.sh("grep -rlF '\(secret)' state ws out || true").isEmpty)
        }
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
        #expect(once.ended.errors.contains("1 file is a Git LFS pointer") && once.ended.errors.contains("a.bin"))
        // Of a workspace that somebody else keeps up to date, the files that are there count.
        let own = ["GITHUB_REPO_URL": "", "WORKSPACE_PATH": box.work, "AGENT_STATE_DIR": box.root + "/own"]
        let left = try await box.once(own)
        #expect(left.outcome == "deployed" && left.deployment["warnings"].int == 1, "\(left)")
        #expect(left.ended.errors.contains("1 file is a Git LFS pointer and not the file itself (a.bin)"), "\(left)")
        try box.write("x", to: box.work + "/a.bin")
        #expect(try await box.once(own, force: true).deployment["warnings"].int == 0)
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

    @Test(
        "what is there goes over to another depth, another branch, a remote of another history and the other way to publish",
        arguments: ["in-place", "symlink"])
    func goesOver(mode: String) async throws {
        let other = mode == "symlink" ? "in-place" : "symlink"
        for version in 2...4 { try await box.commit(["app.txt": "v\(version)\n", "v\(version)": "old\n"]) }
        try await box.sh("git checkout -q --orphan far; git rm -rfq .; echo far > app.txt; git add -A", in: box.work)
        try await box.sh(
            "git commit -qm far; git push -q origin HEAD:far; git checkout -q main; git init -q --bare -b main ../alien.git",
            in: box.work)
        try await box.sh(
            """
            git init -q -b main alien; cd alien; mkdir app.txt; echo alien > app.txt/file; git add -A
            git commit -qm alien; git push -q ../alien.git main
            """)
        func deploys(_ text: String, file: String = "app.txt", depth: Int?, _ settings: [String: String]) async throws {
            let once = try await box.once(settings)
            #expect(once.outcome == "deployed", "\(settings): \(once)")
            #expect(box.text("\(box.workspace)/\(file)") == text, "\(settings)")
            #expect(try await box.sh("git status --porcelain", in: box.workspace).isEmpty, "\(settings)")
            if let depth {
                #expect(try await box.sh("git rev-list --count HEAD", in: box.workspace) == "\(depth)", "\(settings)")
            }
        }
        var settings = ["AGENT_PUBLISH": mode]
        try await deploys("v4\n", depth: 1, settings)
        settings["AGENT_GIT_DEPTH"] = "2"
        try await box.commit(["app.txt": "v5\n"])
        try await deploys("v5\n", depth: 2, settings)
        settings["AGENT_GIT_DEPTH"] = "0"
        try await box.commit(["app.txt": "v6\n"])
        try await deploys("v6\n", depth: 6, settings)
        settings["AGENT_GIT_DEPTH"] = "1"
        settings["GITHUB_BRANCH"] = "far"
        try await deploys("far\n", depth: nil, settings)
        #expect(box.text(box.workspace + "/v2") == nil)
        settings["GITHUB_BRANCH"] = nil
        settings["GITHUB_REPO_URL"] = "file://\(box.root)/alien.git"
        try await deploys("alien\n", file: "app.txt/file", depth: nil, settings)
        settings["GITHUB_REPO_URL"] = nil
        for (mode, version) in [(other, 6), (mode, 7)] {
            settings["AGENT_PUBLISH"] = mode
            if version == 7 { try await box.commit(["app.txt": "v7\n"]) }
            if mode == "symlink" {
                // What stands in the link's place is the user's to move.
                let refused = try await box.once(settings)
                #expect(refused.code == 78 && refused.ended.errors.contains("move it away"), "\(refused)")
                #expect(refused.json["error_kind"].string == "permanent", "\(refused)")
                #expect(refused.json["error_message"].string?.contains("move it away") == true, "\(refused)")
                try await box.sh("mv ws ws-before")
            }
            try await deploys("v\(version)\n", depth: nil, settings)
        }
        #expect(try await box.history().count == 7)
    }
}

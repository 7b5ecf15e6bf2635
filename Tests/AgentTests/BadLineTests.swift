import Foundation
import Glibc
import TestSupport
import Testing

/// The agent where the way to the remote is bad: transfers that stall, break off or are garbage, redirects, proxies.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct BadLineTests {
    let box: Box
    let server: GitWebServer

    init() async throws {
        box = try await Box()
        server = try await GitWebServer(serving: box.root, users: ["deploy": "s3cret-t0ken"])
    }

    /// What nothing compresses, so that a pack has a middle.
    private func noise() async throws {
        try await box.sh("head -c 300000 /dev/urandom > noise", in: box.work)
    }

    @Test(
        "a transfer that stalls, breaks off or is garbage leaves what is published as it is, and the next check deploys",
        arguments: ["in-place", "symlink"])
    func transfers(mode: String) async throws {
        let proxy = try await FaultyProxy(upstream: server.plainOpenURL(""))
        defer { withExtendedLifetime(proxy) {} }
        let settings = [
            "GITHUB_REPO_URL": proxy.url("up.git"), "AGENT_PUBLISH": mode,
            "PRE_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/pre",
        ]
        #expect(try await box.once(settings).outcome == "deployed")
        try await noise()
        let commit = try await box.commit(["app.txt": "v2\n"])
        for fault in [FaultyProxy.Mode.stallRefs, .stall, .close, .garbage] {
            try proxy.setMode(fault)
            let once = try await box.once(settings.merging(["AGENT_GIT_TIMEOUT": "3"]) { $1 })
            #expect(once.code == 69 && once.outcome == "unreachable", "\(fault): \(once)")
            #expect(once.json["error_kind"].string == "transient" && once.deployment.isNull, "\(fault): \(once)")
            #expect(box.text(box.workspace + "/app.txt") == "v1\n" && box.lines("pre").count == 1, "\(fault)")
        }
        #expect(try await box.history().count == 1)
        try proxy.setMode(.none)
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed" && once.deployment["commit"].string == commit, "\(once)")
        #expect(box.text(box.workspace + "/app.txt") == "v2\n" && box.lines("pre").last == commit)
        try await box.sh("git -C ws fsck --full && cmp ws/noise dev/noise")
        #expect(try await box.sh("find state ws -name 'tmp_*' -o -name '*.lock' -size 0").isEmpty)
    }

    @Test("a sidecar lives through a line that stalls, says so, and deploys as soon as it is sound again")
    func sidecar() async throws {
        let proxy = try await FaultyProxy(upstream: server.plainOpenURL(""))
        defer { withExtendedLifetime(proxy) {} }
        let settings = [
            "GITHUB_REPO_URL": proxy.url("up.git"), "AGENT_GIT_TIMEOUT": "3", "GITHUB_SYNC_INTERVAL": "50ms",
        ]
        let agent = try box.start("run", settings: settings)
        try await until("v1 is deployed", details: { agent.errors }) { try await box.history().count == 1 }
        try proxy.setMode(.stall)
        try await noise()
        try await box.commit(["app.txt": "v2\n"])
        try await until("it says so", details: { agent.errors }) {
            let status = try await box.json("status", settings: settings)
            return status["last_error_kind"].string == "transient"
                && status["last_error"].string?.contains("AGENT_GIT_TIMEOUT") == true
        }
        try proxy.setMode(.none)
        try await box.atRest(after: 2, agent)
        #expect(box.text(box.workspace + "/app.txt") == "v2\n")
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test("who is led to another host goes there without the credentials")
    func redirect() async throws {
        let other = try await GitWebServer(serving: box.root, users: ["deploy": "s3cret-t0ken"])
        let leading = try await GitWebServer(
            serving: box.root, users: ["deploy": "s3cret-t0ken"], redirectingTo: other.url(""))
        let toOpen = try await GitWebServer(
            serving: box.root, users: ["deploy": "s3cret-t0ken"], redirectingTo: other.openURL(""))
        defer { withExtendedLifetime((leading, toOpen)) {} }
        let authorities = [leading, toOpen, other].compactMap { box.text($0.authorityFile) }.joined()
        try box.write(authorities, to: box.root + "/ca.pem")
        let settings = [
            "AGENT_CA_FILE": box.root + "/ca.pem", "GITHUB_USERNAME": "deploy", "GITHUB_TOKEN": "s3cret-t0ken",
        ]
        for isPrivate in [false, true] {
            let url = leading.redirectURL("up.git", isPrivate: isPrivate)
            let once = try await box.once(settings.merging(["GITHUB_REPO_URL": url]) { $1 })
            #expect(once.code == 78 && once.json["error_kind"].string == "permanent", "\(once)")
        }
        #expect(await eventually { other.requests().count >= 2 })
        // Where none are wanted it is followed.
        let url = toOpen.redirectURL("up.git")
        let once = try await box.once(settings.merging(["GITHUB_REPO_URL": url]) { $1 })
        #expect(once.outcome == "deployed", "\(once)")
        #expect(await eventually { other.requests().contains { $0.contains("/open/up.git") } })
        #expect(other.requests().allSatisfy { $0.hasSuffix("auth=-") }, "\(other.requests())")
    }

    @Test("the usual variables name proxies: of http, of https, of all; and what goes past them")
    func proxies() async throws {
        let proxy = try await ForwardProxy()
        let settings = [
            "AGENT_CA_FILE": server.authorityFile, "GITHUB_USERNAME": "deploy", "GITHUB_TOKEN": "s3cret-t0ken",
        ]
        let cases = [
            ("http_proxy", server.plainOpenURL("up.git")), ("https_proxy", server.url("up.git")),
            ("HTTPS_PROXY", server.url("up.git")), ("all_proxy", server.url("up.git")),
            ("ALL_PROXY", server.plainOpenURL("up.git")),
        ]
        for (variable, url) in cases {
            let before = proxy.requests().count
            let more = ["GITHUB_REPO_URL": url, variable: proxy.url]
            let once = try await box.once(settings.merging(more) { $1 }, force: true)
            #expect(once.outcome == "deployed", "\(variable): \(once)")
            #expect(await eventually { proxy.requests().count > before }, "\(variable)")
        }
        let before = proxy.requests().count
        for variable in ["no_proxy", "NO_PROXY"] {
            let past = [
                "GITHUB_REPO_URL": server.url("up.git"), "https_proxy": "http://127.0.0.1:9", variable: "localhost",
            ]
            let once = try await box.once(settings.merging(past) { $1 }, force: true)
            #expect(once.outcome == "deployed", "\(once)")
        }
        #expect(proxy.requests().count == before)
        // One that wants other credentials is not.
        let closed = try await ForwardProxy(credentials: "deploy s3cret-proxy")
        defer { withExtendedLifetime(closed) {} }
        for (variable, url) in cases[...1] {
            for credentials in variable == "http_proxy" ? [""] : ["", "deploy:wrong-t0ken@"] {
                let more = ["GITHUB_REPO_URL": url, variable: closed.url.replacing("://", with: "://\(credentials)")]
                let refused = try await box.once(settings.merging(more) { $1 })
                #expect(refused.code == 78 && refused.json["error_kind"].string == "permanent", "\(refused)")
                #expect(refused.ended.errors.contains("the proxy's URL"), "\(refused)")
                #expect(!"\(refused)".contains("wrong-t0ken"))
            }
            let right = [
                "GITHUB_REPO_URL": url, variable: closed.url.replacing("://", with: "://deploy:s3cret-proxy@"),
            ]
            let once = try await box.once(settings.merging(right) { $1 }, force: true)
            #expect(once.outcome == "deployed", "\(once)")
        }
        // One that is away is waited for.
        let away = ["GITHUB_REPO_URL": server.url("up.git"), "https_proxy": "http://127.0.0.1:9"]
        let once = try await box.once(settings.merging(away) { $1 })
        #expect(once.code == 69 && once.json["error_kind"].string == "transient", "\(once)")
    }
}

import Foundation
import TestSupport
import Testing

@testable import Git

/// A forge as git sees it: https with an authority of the test's own, users and passwords, and its failures.
@Suite(.timeLimit(.minutes(2)))
struct WebTests {
    private static let password = "p%'\"$x \u{e4}"
    let served: Served
    let server: GitWebServer

    init() async throws {
        served = try await Served()
        server = try await GitWebServer(serving: served.root, users: ["deploy-user": Self.password])
    }

    private func access(
        _ password: String? = password, user: String = "deploy-user", of server: GitWebServer? = nil,
        trusts: Bool = true
    ) -> RemoteAccess {
        let own = self.server
        let origin = Remote(url: own.url(""), ref: nil).httpOrigin ?? ""
        return RemoteAccess(
            credentials: password.map { [GitCredential(user: user, password: $0, origin: origin)] } ?? [],
            authorityFile: trusts ? (server ?? own).authorityFile : nil)
    }

    @Test("https with user and password; neither is in an argument, in the repository or in an error")
    func password() async throws {
        let commit = try await served.commit()
        #expect(try await served.fetch(server.url(served.name), served.program(access())) == commit)
        #expect(server.requests().contains { $0.contains("auth=Basic ") })
        #expect(try await !served.isKept("deploy-user"))
        #expect(try await !served.isKept("p%"))
        let error = await served.failure(server.url(served.name), served.program(access("hunter2-wrong")))
        #expect(error?.code == .denied && error?.description.contains("hunter2") == false)
        #expect(error?.description.contains("check GITHUB_TOKEN") == true)
    }

    @Test("no credentials, or those of another user, are told from a server that is away")
    func denied() async throws {
        let none = await served.failure(server.url(served.name), served.program(access(nil)))
        #expect(none?.code == .denied && none?.code.isPermanent == true)
        let other = await served.failure(server.url(served.name), served.program(access(user: "bob")))
        #expect(other?.code == .denied)
    }

    @Test("a password that was changed counts from the next call on")
    func rotation() async throws {
        try await served.fetch(server.url(served.name), served.program(access()))
        try await server.setPassword("new", for: "deploy-user")
        #expect(await served.failure(server.url(served.name), served.program(access()))?.code == .denied)
        try await served.fetch(server.url(served.name), served.program(access("new")))
    }

    @Test(
        "a certificate that nobody vouches for, has expired or is another host's is refused",
        arguments: [("localhost", false), ("expired.localhost", true), ("other.localhost", true)])
    func certificates(host: String, trusts: Bool) async throws {
        let url = server.openURL(served.name, host: host)
        let error = await served.failure(url, served.program(access(nil, trusts: trusts)))
        let advice = host == "other.localhost" ? "another host's: check GITHUB_REPO_URL" : "AGENT_CA_FILE"
        #expect(error?.code == .untrusted && error?.description.contains(advice) == true, "\(error as Any)")
    }

    @Test("AGENT_CA_FILE counts whatever git's own variables say, and the machine's authorities count beside it")
    func authorities() async throws {
        let program = served.program(access(nil), environment: ["GIT_SSL_CAINFO": "/nowhere"])
        try await served.fetch(server.openURL(served.name), program)
        let keys = RemoteAccess(authorityFile: "/x").given.configuration
        #expect(keys.map(\.0) == ["http.sslCAInfo", "http.sslCAPath"])
    }

    @Test(
        "what a server answers says whether waiting may help",
        arguments: [
            (401, GitError.Code.denied), (403, .denied), (404, .missingRepository), (429, .throttled),
            (500, .unreachable),
            (502, .unreachable), (503, .unreachable),
        ], [false, true])
    func status(_ expected: (Int, GitError.Code), hasText: Bool) async throws {
        let url = server.statusURL(expected.0, hasText: hasText)
        let error = await served.failure(url, served.program(access()))
        #expect(error?.code == expected.1, "\(error as Any)")
        #expect(error?.code.isPermanent == [401, 403, 404].contains(expected.0))
        if hasText { #expect(error?.description.contains("words of the server") == true) }
        #expect(error?.retryAfter == (expected.0 == 429 ? .seconds(7) : nil))
        // Of the trace that this is read from nothing is shown.
        #expect(error?.description.contains("header") == false && error?.description.contains("http.c") == false)
    }

    @Test(
        "a token that is not sent without encryption is named where the server refuses",
        arguments: [401, 403, 404, 503])
    func withheldToken(status: Int) async throws {
        let url = server.statusURL(status, isPlain: true)
        for origin in [Remote(url: url, ref: nil).httpOrigin ?? "", "http://elsewhere"] {
            let token = WithheldToken(setting: "GITHUB_TOKEN_FILE", origin: origin)
            let error = await served.failure(url, served.program(RemoteAccess(withheld: token)))
            let isSaid =
                error?.description.contains(
                    "GITHUB_TOKEN_FILE is set and was not sent, since http:// is not encrypted: use https:// in GITHUB_REPO_URL"
                ) == true
            #expect(isSaid == (status != 503 && origin != "http://elsewhere"), "\(error as Any)")
        }
    }

    @Test("who is led to another host does not take the credentials there")
    func redirect() async throws {
        let other = try await GitWebServer(serving: served.root, users: ["deploy-user": Self.password])
        let toPrivate = try await GitWebServer(
            serving: served.root, users: ["deploy-user": Self.password], redirectingTo: other.url(""))
        defer { withExtendedLifetime(toPrivate) {} }
        let origin = Remote(url: toPrivate.url(""), ref: nil).httpOrigin ?? ""
        // Both servers' authorities are trusted, so that it is not for want of that.
        let both = try served.folder.write(
            "both.pem",
            [other, toPrivate].map { (try? String(contentsOfFile: $0.authorityFile, encoding: .utf8)) ?? "" }.joined())
        let program = served.program(
            RemoteAccess(
                credentials: [GitCredential(user: "deploy-user", password: Self.password, origin: origin)],
                authorityFile: both)
        )
        for url in [toPrivate.redirectURL(served.name), toPrivate.redirectURL(served.name, isPrivate: true)] {
            #expect(await served.failure(url, program)?.code == .denied)
        }
        #expect(await eventually { other.requests().count >= 2 })
        #expect(other.requests().allSatisfy { $0.hasSuffix("auth=-") }, "\(other.requests())")
        // Where none are wanted it is followed.
        let toOpen = try await GitWebServer(serving: served.root, users: [:], redirectingTo: server.plainOpenURL(""))
        defer { withExtendedLifetime(toOpen) {} }
        try await served.fetch(
            toOpen.redirectURL(served.name), served.program(RemoteAccess(authorityFile: toOpen.authorityFile)))
    }

    @Test("https through a proxy that the usual variable names")
    func proxy() async throws {
        let proxy = try await ForwardProxy()
        let program = served.program(access(), environment: ["https_proxy": proxy.url])
        try await served.fetch(server.url(served.name), program)
        #expect(await eventually { proxy.requests().contains { $0.contains("CONNECT localhost:\(server.httpsPort)") } })
        // One that is not there is waited for.
        let away = served.program(access(), environment: ["https_proxy": "http://127.0.0.1:9"])
        #expect(await served.failure(server.url(served.name), away)?.code == .unreachable)
    }

    @Test("a server that nobody answers for, and a name that nobody knows, are waited for")
    func away() async throws {
        let port = try await freeLoopbackPort()
        for url in ["https://localhost:\(port)/up.git", "https://no-such-host.invalid/up.git"] {
            #expect(await served.failure(url, served.program())?.code == .unreachable)
        }
    }

    @Test("a transfer that stalls, breaks off or is garbage fails, leaves nothing behind, and the next one works")
    func faults() async throws {
        try await served.commit(["noise": served.noise(400_000)])
        let proxy = try await FaultyProxy(upstream: server.plainOpenURL(""))
        defer { withExtendedLifetime(proxy) {} }
        let url = proxy.url(served.name)
        for (mode, timeout) in [
            (FaultyProxy.Mode.stall, 2.0), (.close, 60), (.garbage, 60), (.stallRefs, 2),
        ] {
            try proxy.setMode(mode)
            let program = served.program(timeout: .seconds(timeout))
            let error = await served.failure(url, program)
            #expect(error?.code == .unreachable, "\(mode): \(error as Any)")
            #expect(await served.store.fetchedCommit() == nil, "\(mode)")
            if timeout == 2 { #expect(error?.description.contains("AGENT_GIT_TIMEOUT") == true) }
        }
        try proxy.setMode(.none)
        let commit = try await served.fetch(url, served.program())
        #expect(await served.store.holds(commit))
        // What they left is gone with the next housekeeping at the latest.
        try await served.store.tidy(served.program())
        let left = try await shell("find state -name 'tmp_*' -o -name '*.lock'", in: served.folder.path)
        #expect(left.output.isEmpty, "\(left.output)")
    }
}

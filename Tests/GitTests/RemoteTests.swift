import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct RemoteTests {
    @Test(
        "the followed ref is found: branch before tag, tags peeled, the default branch without a name",
        arguments: [
            ("main", "main"), ("both", "branch"), ("light", "first"), ("annotated", "first"),
            ("refs/tags/both", "first"),
            (nil, "main"), ("feature/x", "branch"),
        ] as [(String?, String)])
    func tip(ref: String?, expected: String) async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit()
        try await git("branch both", in: upstream.path)
        try await git("tag light", in: upstream.path)
        try await git("tag both", in: upstream.path)
        try await git("tag -a -m x annotated", in: upstream.path)
        let second = try await upstream.commit()
        try await git("branch -f both HEAD", in: upstream.path)
        try await git("branch feature/x", in: upstream.path)
        let third = try await upstream.commit()
        try await upstream.store.prepare(upstream.program)
        let tip = try await upstream.program.tip(
            of: Remote(url: upstream.path, ref: ref), from: upstream.store.path)
        #expect(tip.commit == ["first": first, "branch": second, "main": third][expected])
        if ref == nil { #expect(tip.name == "main") }
    }

    @Test(
        "what is missing is told apart from what does not answer",
        arguments: [
            ("none", true, GitError.Code.missingRef), ("main", false, .unreachable),
        ])
    func errors(ref: String, exists: Bool, code: GitError.Code) async throws {
        let upstream = try await Upstream()
        try await upstream.commit()
        try await upstream.store.prepare(upstream.program)
        let url = exists ? upstream.path : "/no/such/repository"
        let error = await #expect(throws: GitError.self) {
            try await upstream.program.tip(of: Remote(url: url, ref: ref), from: upstream.store.path)
        }
        #expect(error?.code == code && error?.description.contains(url) == true)
    }

    @Test("an empty remote has no commit to follow")
    func empty() async throws {
        let upstream = try await Upstream()
        try await upstream.store.prepare(upstream.program)
        let error = await #expect(throws: GitError.self) {
            try await upstream.program.tip(of: Remote(url: upstream.path, ref: nil), from: upstream.store.path)
        }
        #expect(error?.code == .noCommit && error?.code.isPermanent == false)
    }

    @Test(
        "no message shows user or password of a URL",
        arguments: [
            ("https://u:p@h:1/r?a=b@c", "https://h:1/r?a=b@c"), ("ssh://git@h/r", "ssh://h/r"), ("/path@x", "/path@x"),
            ("git@h:r", "git@h:r"), ("https://u:p@w@h/x", "https://h/x"), ("https://:p@h", "https://h"),
            ("https://u:p@[::1]:80/x", "https://[::1]:80/x"), ("https://h/x@y", "https://h/x@y"),
        ])
    func display(url: String, shown: String) {
        #expect(Remote(url: url, ref: nil).displayURL == shown)
    }

    @Test("a fetch brings one commit without its history, by id also when it is no tip")
    func fetch() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1"])
        try await upstream.commit(["a": "2"])
        try await upstream.store.prepare(upstream.program)
        let remote = Remote(url: "file://" + upstream.path, ref: first)
        let tip = try await upstream.program.tip(of: remote, from: upstream.store.path)
        try await upstream.store.fetch(tip, from: remote, upstream.program)
        #expect(await upstream.store.holds(first))
        #expect(try await git("rev-list --all --count", in: upstream.store.path) == "1")
        #expect(try await upstream.store.repository.commit(first).subject == "c")
    }

    private static let id = "0123456789abcdef0123456789ABCDEF01234567"

    @Test("a followed commit id asks nobody")
    func followedCommit() async throws {
        let tip = try await Upstream().program.tip(of: Remote(url: "/nowhere", ref: Self.id), from: "/")
        #expect(tip == RemoteTip(commit: Self.id.lowercased(), reference: nil))
    }

    @Test("tags of tags lead to the commit, and full names to what git's own lists leave out")
    func oddReferences() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit()
        try await git("tag -a -m inner v0", in: upstream.path)
        try await git("tag -a -m outer v1 v0", in: upstream.path)
        try await git("update-ref refs/pull/7/head HEAD", in: upstream.path)
        try await upstream.commit()
        for name in ["refs/tags/v1", "refs/pull/7/head"] {
            let tip = try await upstream.program.tip(of: upstream.remote(name), from: "/")
            #expect(tip == RemoteTip(commit: first, reference: name))
        }
    }

    @Test("a branch whose name only ends in the followed name is another one")
    func suffix() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit()
        try await git("checkout -q -b team/refs/heads/main", in: upstream.path)
        try await upstream.commit()
        #expect(try await upstream.program.tip(of: upstream.remote(), from: "/").commit == first)
    }

    @Test("a pattern, an expression or nothing is no name", arguments: ["ma*", "refs/heads/none", "main^", ""])
    func noName(ref: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit()
        let error = await gitError { _ = try await upstream.program.tip(of: upstream.remote(ref), from: "/") }
        #expect(error?.code == .missingRef)
    }

    @Test(
        "a full commit id is followed as such, anything else as a name",
        arguments: [
            (id, id.lowercased()), (String(id.dropLast()), nil), (id + "0", nil), ("main", nil), (nil, nil),
            (String(repeating: "g", count: 40), nil), (String(repeating: "٣", count: 40), nil),
        ])
    func commitOrName(ref: String?, expected: String?) {
        #expect(Remote(url: "x", ref: ref).followedCommit == expected)
    }

    @Test(
        "the origin of an http URL has scheme, host and port",
        arguments: [
            ("https://host/x.git", "https://host"), ("https://user:pw@host:8443/x/y", "https://host:8443"),
            ("http://host", "http://host"), ("HTTPS://host/x", "https://host"), ("ssh://host/x", nil),
            ("git@host:x", nil), ("/srv/repo", nil), ("file:///srv/repo", nil),
        ])
    func origin(url: String, expected: String?) {
        #expect(Remote(url: url, ref: nil).httpOrigin == expected)
    }
}

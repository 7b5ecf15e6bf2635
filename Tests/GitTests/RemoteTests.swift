import Git
import TestSupport
import Testing

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
        #expect(error?.code == .missingRef)
    }

    @Test(
        "no message shows user or password of a URL",
        arguments: [
            ("https://u:p@h:1/r?a=b@c", "https://h:1/r?a=b@c"), ("ssh://git@h/r", "ssh://h/r"), ("/path@x", "/path@x"),
            ("git@h:r", "git@h:r"),
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
}

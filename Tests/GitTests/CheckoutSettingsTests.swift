import Shell
import TestSupport
import Testing

@testable import Git

/// A staged checkout is written by the workspace's own settings.
@Suite(.timeLimit(.minutes(1)))
struct CheckoutSettingsTests {
    let upstream: Upstream
    private var store: CommitStore { upstream.store }
    private var stage: String { store.stage }

    init() async throws {
        upstream = try await Upstream()
        try await upstream.commit(script: "echo '*.g filter=rot' > .gitattributes; echo abc > a.g; echo abc > b")
        try await upstream.publish()
    }

    private static let rot = "git config filter.rot.smudge 'tr a-y b-z'; git config filter.rot.clean 'tr b-z a-y'"

    /// Stages what the upstream has; returns why the settings were left out.
    private func refusal() async throws -> String? {
        let tip = try await upstream.fetch()
        return try await store.stage(tip.commit, for: upstream.workspace, upstream.program)
    }

    @Test(
        "filters, line ends and attributes of the workspace's own repository count, and go with the stage",
        arguments: [
            (rot, "bcd\nabc\n"),
            ("\(rot); git config filter.rot.required true", "bcd\nabc\n"),
            ("git config core.autocrlf true", "abc\r\nabc\r\n"),
            ("git config core.eol crlf; echo '* text' > .git/info/attributes", "abc\r\nabc\r\n"),
            ("mkdir -p .git/info; echo '* text eol=crlf' > .git/info/attributes", "abc\r\nabc\r\n"),
            ("true", "abc\nabc\n"),
        ])
    func counts(script: String, content: String) async throws {
        try await upstream.run(script)
        #expect(try await refusal() == nil)
        #expect(try await upstream.run("cat a.g b", in: stage) == content)
        #expect(try await upstream.run("git status --porcelain", in: stage) == "")
        // Nothing that PRE_DEPLOY did not touch counts as made by it.
        let tip = try await upstream.fetch()
        let written = await WrittenFiles(store.stageAdministration).unchanged(in: stage)
        #expect(written.count == 3)
        _ = try await upstream.workspace.publish(
            tip.commit, from: store, stagedOutput: true, origin: upstream.path, upstream.program)
        // The store itself has none of it.
        try await store.stage(tip.commit, upstream.program)
        #expect(try await upstream.run("cat a.g b", in: stage) == "abc\nabc\n")
    }

    @Test("a filter that cannot work there is left out, and the reason is told")
    func fails() async throws {
        try await upstream.run(
            "git config filter.rot.smudge false; git config filter.rot.clean cat; git config filter.rot.required true")
        let refusal = try await refusal()
        #expect(refusal?.contains("a.g") == true, "\(refusal ?? "none")")
        #expect(try await upstream.run("cat a.g b; git status --porcelain", in: stage) == "abc\nabc\n")
        #expect(await WrittenFiles(store.stageAdministration).unchanged(in: stage).count == 3)
    }

    @Test("git-crypt finds its keys", .enabled(if: hasGitCrypt))
    func gitCrypt() async throws {
        try await upstream.run(
            "git-crypt init; echo 'secret filter=git-crypt diff=git-crypt' >> .gitattributes; echo abc > secret; "
                + "git-crypt export-key ../key; git add -A; git commit -qm c", in: "up")
        try await upstream.publish()
        #expect(try await upstream.run("head -c 9 secret | tail -c 8") == "GITCRYPT")
        try await upstream.run("git-crypt unlock ../key")
        #expect(try await upstream.run("cat secret") == "abc\n")
        #expect(try await refusal() == nil)
        #expect(try await upstream.run("cat secret", in: stage) == "abc\n")
    }
}

private let hasGitCrypt = findProgram("git-crypt", searchPath: "/usr/local/bin:/usr/bin:/bin") != nil

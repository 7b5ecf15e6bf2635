import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// Git LFS with its own program, and a remote that is a folder.
@Suite(.timeLimit(.minutes(1)))
struct LargeFileTests {
    let upstream: Upstream

    init() async throws {
        upstream = try await Upstream()
        try await upstream.run(
            """
            git init -q --bare -b main ../served.git; git remote add origin "file://$PWD/../served.git"
            git lfs install --local --skip-repo > /dev/null; mkdir assets
            printf '*.bin filter=lfs diff=lfs merge=lfs -text\\n' > assets/.gitattributes; seq 10000 > assets/big.bin; echo 1 > a
            """, in: upstream.path)
        try await push()
    }

    private func push() async throws {
        try await upstream.run(
            "git add -A; git commit -qm change; git lfs push origin HEAD > /dev/null; git push -q origin HEAD:main",
            in: upstream.path)
    }

    private var remote: Remote { Remote(url: "file://\(upstream.folder.path)/served.git", ref: "main") }

    private func content(_ program: GitProgram? = nil, hasLFS: Bool = true) async throws -> (String, CommitContent) {
        let git = program ?? upstream.program
        try await upstream.store.prepare(git)
        let tip = try await git.tip(of: remote, from: upstream.store.path)
        try await upstream.store.fetch(tip, from: remote, git)
        return (
            tip.commit,
            try await upstream.store.fetchContent(
                of: tip.commit, from: remote, .init(depth: 1, hasSubmodules: true, hasLFS: hasLFS), git)
        )
    }

    @Test("large files are published as themselves, in place and in a release, without asking for them again")
    func fetched() async throws {
        let (commit, content) = try await content()
        #expect(content.warnings.isEmpty)
        try await upstream.run("mv ../served.git ../away.git; rm -rf ../up/.git/lfs", in: upstream.path)
        _ = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: false, origin: remote.url, content.git)
        #expect(upstream.folder.read("ws/assets/big.bin")?.hasPrefix("1\n2\n") == true)
        // Seen with the filters, nothing has changed: the next publishing discards nothing.
        let again = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: false, origin: remote.url, content.git)
        #expect(again.paths.isEmpty)
        let releases = Releases(of: upstream.store, workspace: upstream.folder.path + "/link")
        let release = try await releases.make(commit, content.git)
        try await releases.complete(release, content.git)
        #expect(try await upstream.run("wc -l < assets/big.bin", in: release.path).contains("10000"))
        #expect(await releases.kept(commit, content.git) == release)
    }

    @Test(
        "what was left as a pointer is written out once the large files are there, in place and staged",
        arguments: [false, true])
    func later(isStaged: Bool) async throws {
        let (commit, plain) = try await content(hasLFS: false)
        _ = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: false, origin: remote.url, plain.git)
        let whole = try await content().1
        if isStaged { try await upstream.store.stage(commit, whole.git) }
        _ = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: isStaged, origin: remote.url, whole.git)
        #expect(upstream.folder.read("ws/assets/big.bin")?.hasPrefix("1\n2\n") == true)
    }

    @Test("a commit's .lfsconfig says where its large files are")
    func elsewhere() async throws {
        try await upstream.run(
            "git init -q --bare -b main ../other.git; mv ../served.git/lfs ../other.git/lfs; git config -f .lfsconfig lfs.url file://$PWD/../other.git; git add -A; git commit -qm config; git push -q --no-verify origin HEAD:main",
            in: upstream.path)
        #expect(try await content().1.warnings.isEmpty)
    }

    @Test("large files that no commit needs any more are removed")
    func tidied() async throws {
        func stored() async throws -> Int {
            try await upstream.run("find repo.git/lfs -type f", in: upstream.folder.path + "/state").split(
                separator: "\n"
            ).count
        }
        let first = try await content().0
        try await upstream.run("seq 20000 > assets/big.bin", in: upstream.path)
        try await push()
        let second = try await content().0
        #expect(try await stored() == 2)
        try await upstream.store.tidyContent(of: [first, second], upstream.program)
        #expect(try await stored() == 2)
        try await upstream.store.tidyContent(of: [second], upstream.program)
        #expect(try await stored() == 1)
        _ = try await content()
    }

    @Test("large files that the remote does not have are an error, before anything is published")
    func missing() async throws {
        try await upstream.run("rm -rf ../served.git/lfs", in: upstream.path)
        let error = await gitError { _ = try await content() }
        #expect(error?.description.contains("fetch the large files") == true, "\(error as Any)")
    }

    @Test("pointers that are left in the tree are said, with the reason", arguments: [true, false])
    func pointers(isOff: Bool) async throws {
        // A PATH without git-lfs.
        let bin = upstream.folder.path + "/bin"
        let found = try await shell(
            "mkdir bin; for p in git sh; do ln -s $(command -v $p) bin/$p; done", in: upstream.folder.path)
        #expect(found.verdict.isSuccess)
        let program = isOff ? upstream.program : try await Upstream(environment: ["PATH": bin]).program
        let (commit, content) = try await content(program, hasLFS: !isOff)
        let warning = try #require(content.warnings.first)
        #expect(warning.contains("1 file is a Git LFS pointer") && warning.contains("assets/big.bin"))
        #expect(warning.contains(isOff ? "AGENT_GIT_LFS is off" : "install it"))
        _ = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: false, origin: remote.url, content.git)
        #expect(upstream.folder.read("ws/assets/big.bin")?.hasPrefix("version https://git-lfs") == true)
    }

    @Test("large files that git lfs leaves out by its settings are said; the rest is there")
    func excluded() async throws {
        try await upstream.run(
            "git config -f .lfsconfig lfs.fetchexclude assets; cp assets/.gitattributes .; seq 3 > there.bin",
            in: upstream.path)
        try await push()
        let (commit, content) = try await content()
        let warning = try #require(content.warnings.first)
        #expect(content.warnings.count == 1 && warning.contains("1 file is a Git LFS pointer"))
        #expect(warning.contains("(assets/big.bin)") && warning.contains("lfs.fetchexclude"))
        _ = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: false, origin: remote.url, content.git)
        #expect(upstream.folder.read("ws/assets/big.bin")?.hasPrefix("version https://git-lfs") == true)
        #expect(upstream.folder.read("ws/there.bin") == "1\n2\n3\n")
    }

    @Test("a commit without large files costs nothing and says nothing")
    func none() async throws {
        try await upstream.run("git rm -rq assets", in: upstream.path)
        try await push()
        let (commit, content) = try await content(hasLFS: false)
        #expect(content.warnings.isEmpty)
        #expect(try await !upstream.store.repository.usesLFS(commit))
    }
}

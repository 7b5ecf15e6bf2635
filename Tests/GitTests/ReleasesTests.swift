import Foundation
import Glibc
import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(2)))
struct ReleasesTests {
    /// Fetches what the upstream has and makes a release of it.
    private func make(_ upstream: Upstream, _ releases: Releases) async throws -> Release {
        let commit = try await upstream.fetch().commit
        let release = try await releases.make(commit, upstream.program)
        try await releases.complete(release, upstream.program)
        return release
    }

    @Test("over 300 publishes a reader in a tight loop sees one release or the next, never a mixture, never nothing")
    func readers() async throws {
        let upstream = try await Upstream()
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        var made: [Release] = []
        for round in 1...3 {
            let text = String(repeating: "\(round)", count: 5000)
            try await upstream.commit(["a": text, "sub/b": text, "c": text])
            made.append(try await make(upstream, releases))
        }
        try releases.publish(made[0])
        let reader = LinkReader(upstream.workspace.path)
        for round in 1...300 {
            try releases.publish(made[round % 3])
            // However busy the machine is: of every tenth one look at least begins and ends beside it.
            if round.isMultiple(of: 10) { #expect(await reader.looksTwice()) }
        }
        #expect(await reader.ends())
        #expect(reader.problems == [] && reader.seen == ["1", "2", "3"])
    }

    @Test("one in which somebody works is not removed before that ends, and one that is being removed is not to be had")
    func held() async throws {
        let upstream = try await Upstream()
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        var made: [Release] = []
        for text in ["1", "2"] {
            try await upstream.commit(["a": text])
            let release = try await make(upstream, releases)
            try releases.publish(release)
            made.append(release)
        }
        var holds = [made[0].hold(), made[0].hold()]
        #expect(holds.allSatisfy { $0 != nil })
        for _ in 0..<2 {
            try releases.prune(keep: 0, grace: .zero)
            #expect(upstream.folder.read("state/releases/\(made[0].name)/a") == "1")
            holds.removeLast()
        }
        try releases.prune(keep: 0, grace: .zero)
        #expect(made[0].hold() == nil && made[1].hold() != nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: upstream.store.releases) == [made[1].name])
    }

    @Test("one that is kept is complete and as it was left; what a hook left in tracked files belongs to it")
    func kept() async throws {
        let upstream = try await Upstream()
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        let commit = try await upstream.commit(["a": "1", "b": "1", "gone": "1"])
        _ = try await upstream.fetch()
        let release = try await releases.make(commit, upstream.program)
        #expect(await releases.kept(commit, upstream.program) == nil, "it is not complete")
        try await upstream.run("echo hook > a; rm gone; echo new > new; rm .git", in: release.path)
        try await releases.complete(release, upstream.program)
        #expect(await releases.kept(commit, upstream.program) == release)
        #expect(try await git("rev-parse HEAD", in: release.path) == commit)
        // What the app writes beside is its own.
        try await upstream.run("echo log > app.log; rm new", in: release.path)
        #expect(await releases.kept(commit, upstream.program) == release)
        try await upstream.run("chmod 600 b; touch -d 2001-01-01 b", in: release.path)
        #expect(await releases.kept(commit, upstream.program) == release, "its content is the same")
        let again = try await releases.make(commit, upstream.program)
        #expect(again.name == commit + ".2" && upstream.folder.exists("state/releases/\(commit).2/gone"))
        try await releases.complete(again, upstream.program)
        #expect(await releases.kept(commit, upstream.program) == again)
        for folder in [release.path, again.path] { try await upstream.run("echo changed > b", in: folder) }
        #expect(await releases.kept(commit, upstream.program) == nil, "they were altered")
    }

    @Test("the link is relative where the state lies below its folder, else absolute; nothing else is replaced")
    func link() async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(["a": "1"])
        let releases = Releases(of: upstream.store, workspace: upstream.folder.path + "/ws")
        let release = try await make(upstream, releases)
        try releases.publish(release)
        #expect(Git.link(upstream.folder.path + "/ws") == "state/releases/\(commit)")
        #expect(releases.live() == release && upstream.folder.read("ws/a") == "1")
        let elsewhere = upstream.folder.path + "/far/away/ws"
        try Releases(of: upstream.store, workspace: elsewhere).publish(release)
        #expect(Git.link(elsewhere) == release.path)
        for (index, script) in ["mkdir x0", "echo > x1", "mkfifo x2"].enumerated() {
            let path = upstream.folder.path + "/x\(index)"
            try await upstream.run(script, in: upstream.folder.path)
            let before = kind(of: path)
            let error = #expect(throws: GitError.self) {
                try Releases(of: upstream.store, workspace: path).publish(release)
            }
            #expect(error?.code == .notACheckout && kind(of: path) == before)
        }
    }

    @Test("a git that was killed while it checked one out is no obstacle")
    func halfMade() async throws {
        let upstream = try await Upstream()
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        let commit = try await upstream.commit(["a": "1"])
        _ = try await upstream.fetch()
        let release = try await releases.make(commit, upstream.program)
        try await upstream.run("rm a; touch junk", in: release.path)
        try await upstream.run("touch index.lock HEAD.lock", in: release.administration)
        let other = try await upstream.commit(["a": "2"])
        _ = try await upstream.fetch()
        let orphan = try await releases.make(other, upstream.program)
        try await upstream.run("rm -rf '\(orphan.path)'; echo x > '\(orphan.administration)/locked'", in: upstream.path)
        let again = try await releases.make(commit, upstream.program)
        try await releases.complete(again, upstream.program)
        try releases.publish(again)
        #expect(upstream.folder.read("ws/a") == "1" && !upstream.folder.exists("ws/junk"))
        try releases.prune(keep: 0, grace: .zero)
        #expect(releases.live() == again)
        #expect(try entries(of: upstream.store.path + "/worktrees") == [again.name])
    }

    @Test("what no release, ref or kept commit needs is removed: after many publishes there is no more than after few")
    func disk() async throws {
        let upstream = try await Upstream()
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        var last: [String] = []
        for round in 1...30 {
            last.append(try await upstream.commit(["a": "\(round)"]))
            let release = try await make(upstream, releases)
            try releases.publish(release)
            try releases.prune(keep: 1, grace: .zero)
            try await upstream.store.keep(last[round - 1], and: Set(last.suffix(2)), upstream.program)
            try await upstream.store.tidy(upstream.program)
        }
        let objects = try await git("count-objects", in: upstream.store.path)
        #expect(Int(objects.prefix { $0.isNumber }).map { $0 <= 70 } == true, "\(objects)")
        for commit in last.suffix(2) {
            #expect(await upstream.store.keeps(commit))
            try await git("ls-tree -r \(commit)", in: upstream.store.path)
        }
        #expect(await !upstream.store.keeps(last[0]))
        #expect(try await !git("fsck --no-dangling", in: upstream.store.path).contains("missing"))
    }
}

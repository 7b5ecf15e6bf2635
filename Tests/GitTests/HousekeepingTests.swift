import Foundation
import Glibc
import Shell
import TestSupport
import Testing

@testable import Git

/// How much of the disk the store and the checkout's own repository take, beside what is needed.
@Suite(.timeLimit(.minutes(5)), .serialized)
struct HousekeepingTests {
    /// Commits so many files that nothing compresses.
    @discardableResult
    private func commit(_ upstream: Upstream, files: Int, bytes: Int = 3000, from first: Int = 1) async throws -> String
    {
        try await upstream.commit(
            script: "for i in $(seq \(first) \(first + files - 1)); do head -c \(bytes) /dev/urandom > f$i; done")
    }

    /// Bytes on the disk below these folders; what is one file counts once.
    private func bytes(_ folders: String...) async throws -> Int {
        let list = folders.map { "'\($0)/objects'" }.joined(separator: " ")
        let total = try await shell("du -sck \(list) | tail -n 1 | cut -f 1").output
        return (Int(total.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1) * 1024
    }

    /// Bytes of a pack of these commits alone, as git makes it.
    private func needed(_ upstream: Upstream, _ commits: [String]) async throws -> Int {
        let fresh = upstream.folder.path + "/fresh"
        let fetches = commits.map { "git fetch -q --depth=1 'file://\(upstream.path)' \($0):refs/heads/\($0)" }
        _ = try await upstream.run(
            "rm -rf '\(fresh)'; git init -q --bare '\(fresh)'; cd '\(fresh)'; \(fetches.joined(separator: "; ")); git repack -adq",
            in: upstream.folder.path)
        return try await bytes(fresh)
    }

    /// What the agent does after a deployment.
    private func tidy(_ upstream: Upstream, keeping commits: [String]) async throws {
        try await upstream.store.keep(commits[commits.count - 1], and: Set(commits), upstream.program)
        try await upstream.store.tidy(upstream.program)
    }

    /// What a store holds can be read whole.
    private func expectWhole(_ repository: String) async throws {
        let check = try await shell("git fsck --full", in: repository)
        #expect(check.verdict.isSuccess && !check.output.contains("missing"), "\(check.output)")
    }

    @Test(
        "after each publishing, store and checkout take at most twice the pack of the commits that are kept",
        arguments: [(120, 1), (120, 3), (50, 1), (1, 2)])
    func inPlace(changed: Int, kept: Int) async throws {
        let upstream = try await Upstream()
        var commits = [try await commit(upstream, files: 120)]
        for round in 1...5 {
            if round > 1 { commits.append(try await commit(upstream, files: changed)) }
            try await upstream.fetch()
            _ = try await upstream.workspace.publish(
                commits[round - 1], from: upstream.store, stagedOutput: false, origin: upstream.path, upstream.program)
            let last = Array(commits.suffix(kept))
            try await tidy(upstream, keeping: last)
            try await upstream.workspace.tidy(sharing: upstream.store, upstream.program)
            let (there, needed) = try await (
                bytes(upstream.store.path, upstream.workspace.path + "/.git"), needed(upstream, last)
            )
            #expect(there <= 2 * needed, "round \(round): \(there) of \(needed)")
        }
        try await expectWhole(upstream.store.path)
        try await expectWhole(upstream.workspace.path)
        // What it shares is its own, too.
        try await upstream.run("rm -rf state", in: upstream.folder.path)
        try await expectWhole(upstream.workspace.path)
        #expect(try await git("status --porcelain", in: upstream.workspace.path) == "")
        #expect(try await git("rev-list --count HEAD", in: upstream.workspace.path) == "1")
    }

    @Test("a pack of which nothing is needed goes without the others being written anew")
    func wholePacks() async throws {
        let upstream = try await Upstream()
        var commits: [String] = []
        func files() throws -> [String: UInt64] {
            let folder = upstream.store.path + "/objects/pack"
            return try Dictionary(
                uniqueKeysWithValues: entries(of: folder).filter { $0.hasSuffix(".pack") }.map {
                    var info = stat()
                    #expect(lstat("\(folder)/\($0)", &info) == 0)
                    return ($0, UInt64(info.st_ino))
                })
        }
        for _ in 1...2 {
            commits.append(try await commit(upstream, files: 120))
            try await upstream.fetch()
        }
        let before = try files()
        #expect(before.count == 2)
        try await tidy(upstream, keeping: [commits[1]])
        let after = try files()
        #expect(after.count == 1 && after.allSatisfy { before[$0.key] == $0.value })
    }

    @Test("what becomes needless without anything coming goes, too: on the way back, and where a commit removes files")
    func nothingNew() async throws {
        let upstream = try await Upstream()
        let small = try await commit(upstream, files: 1, bytes: 100_000)
        let large = try await commit(upstream, files: 1, bytes: 900_000, from: 2)
        try await upstream.fetch()
        try await tidy(upstream, keeping: [large])
        #expect(try await bytes(upstream.store.path) > 900_000)
        // Back: what is there holds all of it.
        try await git("reset -q --hard HEAD^", in: upstream.path)
        try await upstream.fetch()
        try await tidy(upstream, keeping: [small])
        #expect(try await bytes(upstream.store.path) <= 2 * needed(upstream, [small]))
        let next = try await upstream.commit(["f1": nil, "g": "1"])
        try await upstream.fetch()
        try await tidy(upstream, keeping: [next])
        #expect(try await bytes(upstream.store.path) < 100_000)
        try await expectWhole(upstream.store.path)
    }

    @Test("of versions that differ little the differences are kept")
    func deltas() async throws {
        let upstream = try await Upstream()
        var commits: [String] = []
        try await upstream.commit(script: "head -c 300000 /dev/urandom | base64 > text")
        for round in 1...5 {
            commits.append(try await upstream.commit(script: "echo \(round) >> text"))
            try await upstream.fetch()
            let last = Array(commits.suffix(4))
            try await tidy(upstream, keeping: last)
            let (there, needed) = try await (bytes(upstream.store.path), needed(upstream, last))
            #expect(there <= 2 * needed, "round \(round): \(there) of \(needed)")
        }
    }

    @Test("many small commits leave few packs and few loose objects")
    func manySmall() async throws {
        let upstream = try await Upstream()
        var commits = [try await commit(upstream, files: 100)]
        for round in 1...23 {
            commits.append(try await upstream.commit(["a": "\(round)"]))
            try await upstream.fetch()
            try await tidy(upstream, keeping: Array(commits.suffix(2)))
            #expect(try entries(of: upstream.store.path + "/objects/pack").count { $0.hasSuffix(".pack") } <= 20)
        }
        try await expectWhole(upstream.store.path)
        let last = Array(commits.suffix(2))
        #expect(try await bytes(upstream.store.path) <= 2 * needed(upstream, last))
    }

    @Test("commits that are fetched one after the other and never deployed do not pile up")
    func neverDeployed() async throws {
        let upstream = try await Upstream()
        let live = try await commit(upstream, files: 120)
        try await upstream.fetch()
        try await tidy(upstream, keeping: [live])
        var most = 0
        for _ in 1...5 {
            try await commit(upstream, files: 120)
            try await upstream.store.tidyUndeployed(upstream.program)
            try await upstream.fetch()
            most = max(most, try await bytes(upstream.store.path))
        }
        // The one that is live, the one looked at last, and the one before.
        #expect(try await most <= 4 * needed(upstream, [live]))
        #expect(await upstream.store.keeps(live))
        try await expectWhole(upstream.store.path)
    }

    @Test(
        "what a git left that was killed in the middle of a pack goes before the next fetch, and nothing else",
        arguments: ["tmp_pack_aBc123", "tmp_idx_aBc123", ".tmp-4711-pack-0123.pack", "pack-0123.pack", "pack-0123.idx"])
    func leftovers(name: String) async throws {
        let upstream = try await Upstream()
        try await commit(upstream, files: 10)
        try await upstream.fetch()
        let path = upstream.store.path + "/objects/pack"
        let before = try entries(of: path).sorted()
        try await upstream.run("head -c 100000 /dev/zero > '\(path)/\(name)'", in: upstream.path)
        try await upstream.fetch()
        #expect(try entries(of: path).sorted() == before)
        try await expectWhole(upstream.store.path)
    }

    @Test("where the whole history is wanted it stays, and is walked through only where something became needless")
    func wholeHistory() async throws {
        let upstream = try await Upstream()
        func deploy(_ commit: String) async throws -> String? {
            try await upstream.store.prepare(upstream.program)
            let tip = try await upstream.program.tip(of: upstream.remote(), from: upstream.store.path)
            try await upstream.store.fetch(tip, from: upstream.remote(), depth: 0, upstream.program)
            try await tidy(upstream, keeping: [commit])
            return upstream.folder.read("state/repo.git/agent-needed")
        }
        let first = try await deploy(commit(upstream, files: 60))
        #expect(first != nil)
        for _ in 1...4 { #expect(try await deploy(commit(upstream, files: 1)) == first, "it was measured again") }
        let large = try await commit(upstream, files: 60)
        let noted = try await deploy(large)
        #expect(noted != first)
        // One that was rewritten: what it had beside is found needless, although hardly anything comes.
        try await git("reset -q --hard HEAD^", in: upstream.path)
        let rewritten = try await upstream.commit(["other": "1"])
        #expect(try await deploy(rewritten) != noted)
        let gone = try await shell("git cat-file -e \(large)", in: upstream.store.path)
        #expect(!gone.verdict.isSuccess)
        #expect(try await git("rev-list --count \(rewritten)", in: upstream.store.path) == "6")
        try await expectWhole(upstream.store.path)
    }

    @Test("one that cannot be read says so, and nothing is removed")
    func damaged() async throws {
        let upstream = try await Upstream()
        for _ in 1...2 {
            try await commit(upstream, files: 120)
            try await upstream.fetch()
        }
        let folder = upstream.store.path + "/objects/pack"
        try await upstream.run("chmod u+w *.pack; for pack in *.pack; do truncate -s 20000 $pack; done", in: folder)
        let before = try entries(of: folder).sorted()
        let error = await gitError { try await upstream.store.tidy(upstream.program) }
        #expect(error?.operation.contains(upstream.store.path) == true, "\(String(describing: error))")
        #expect(try entries(of: folder).sorted() == before)
    }

    @Test("in somebody's own repository nothing is removed, and no history is cut", arguments: ["clone", "fetched"])
    func somebodys(how: String) async throws {
        let upstream = try await Upstream()
        let first = try await commit(upstream, files: 120)
        // The second has no ref at all, and its log has checkouts alone.
        try await upstream.run(
            how == "clone"
                ? "git clone -q up ws"
                : "git init -q ws; cd ws; git fetch -q ../up main; git checkout -q --detach FETCH_HEAD", in: "up/..")
        var commits = [first]
        for _ in 1...4 {
            commits.append(try await commit(upstream, files: 120))
            try await upstream.fetch()
            _ = try await upstream.workspace.publish(
                commits[commits.count - 1], from: upstream.store, stagedOutput: false, origin: upstream.path,
                upstream.program)
            try await tidy(upstream, keeping: [commits[commits.count - 1]])
            try await upstream.workspace.tidy(sharing: upstream.store, upstream.program)
        }
        for commit in commits { try await git("ls-tree -r \(commit)", in: upstream.workspace.path) }
        #expect(try await git("rev-list --count HEAD", in: upstream.workspace.path) == "5")
    }

    @Test(
        "a checkout that the agent made has as much of the history as was asked for, also from the first commit on",
        arguments: [1, 2, 0])
    func firstCommit(depth: Int) async throws {
        let upstream = try await Upstream()
        for number in 1...5 {
            let commit = try await upstream.commit(["a": "\(number)"])
            try await upstream.store.prepare(upstream.program)
            let tip = try await upstream.program.tip(of: upstream.remote(), from: upstream.store.path)
            try await upstream.store.fetch(tip, from: upstream.remote(), depth: depth, upstream.program)
            _ = try await upstream.workspace.publish(
                commit, from: upstream.store, stagedOutput: false, origin: upstream.path, upstream.program)
            try await upstream.workspace.tidy(sharing: upstream.store, upstream.program)
        }
        let count = try await git("rev-list --count HEAD", in: upstream.workspace.path)
        #expect(count == "\(depth == 0 ? 5 : depth)")
    }

    @Test("the names in a pack's index are those that git finds in it; what is none is not read as one")
    func packIndex() async throws {
        let upstream = try await Upstream()
        try await commit(upstream, files: 30)
        try await upstream.fetch()
        let packs = PackFolder(repository: upstream.store.path)
        let pack = try #require(packs.all().first)
        let shown = try await git("show-index < objects/pack/\(pack.name).idx", in: upstream.store.path)
        let names = Set(shown.split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst().first })
        let index = try #require(packs.index(of: pack))
        var found: Set<ObjectName> = []
        index.forEach { found.insert($0) }
        #expect(index.count == 32 && found == Set(names.compactMap { ObjectName(hex: ArraySlice($0.utf8)) }))
        for (number, bytes) in ["", "x", String(repeating: "x", count: 2000)].enumerated() {
            let path = try upstream.folder.write("index\(number)", bytes)
            #expect(PackIndex(path: path) == nil)
        }
        #expect(PackIndex(path: upstream.folder.path) == nil && ObjectName(hex: ArraySlice("12".utf8)) == nil)
    }
}

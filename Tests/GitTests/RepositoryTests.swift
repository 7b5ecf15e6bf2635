import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct RepositoryTests {
    @Test(
        "a folder of a commit is told from everything else, through links upon links",
        arguments: [
            ("", FolderLookup.folder), ("./hooks//pre/", .folder), ("hooks/pre/run.sh", .notAFolder),
            ("hooks/pre/run.sh/x", .notAFolder), ("hooks/missing/x", .missing), ("deep/up", .folder),
            ("chain", .folder), ("dots", .folder), ("self/self/hooks", .folder), ("dangling", .missing),
            ("parent", .escapes), ("loop1", .escapes), ("..", .escapes), ("hooks/..", .folder),
            ("out/../hooks", .escapes), ("round", .escapes), ("inside/../deep", .folder),
        ])
    func folder(path: String, expected: FolderLookup) async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(
            script: """
                mkdir -p hooks/pre deep/er; echo text > hooks/pre/run.sh; echo x > deep/er/x; ln -s hooks inside
                ln -s ../hooks/pre deep/up; ln -s ../outside out; ln -s nowhere dangling; ln -s loop2 loop1
                ln -s loop1 loop2; ln -s inside/pre chain; ln -s deep/../hooks dots; ln -s . self; ln -s .. parent
                ln -s deep/er/../../../up/hooks round
                """)
        #expect(try await Repository(path: upstream.path).folder(path, in: commit) == expected)
    }

    @Test("a file's content is the commit's, not the work tree's, whatever bytes it has, up to the limit")
    func file() async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(
            script: "echo text > run.sh; printf '' > empty; printf 'a\\0b' > binary; mkdir d; echo x > d/x")
        try upstream.folder.write("up/run.sh", "changed")
        let repository = Repository(path: upstream.path)
        #expect(try await repository.file("run.sh", in: commit, limit: 5) == Array("text\n".utf8))
        #expect(try await repository.file("binary", in: commit, limit: 100) == [97, 0, 98])
        #expect(try await repository.file("empty", in: commit, limit: 100) == [])
        for name in ["missing", "d/missing", "missing/x"] {
            #expect(try await repository.file(name, in: commit, limit: 100) == nil)
        }
    }

    @Test(
        "a commit tells its subject and author",
        arguments: [("first line\n\nbody", "first line"), ("two\nlines\n\nbody", "two lines"), ("ü €😀", "ü €😀")])
    func commit(message: String, subject: String) async throws {
        let upstream = try await Upstream()
        let id = try await upstream.commit(script: "true", message: message)
        let info = try await Repository(path: upstream.path).commit(id)
        #expect(info == CommitInfo(id: id, subject: subject, author: "t"))
    }

    @Test(
        "a commit that is not there is an error that names it", arguments: [String(repeating: "1", count: 40), "xyz"])
    func missingCommit(id: String) async throws {
        let upstream = try await Upstream()
        let error = await gitError { _ = try await Repository(path: upstream.path).commit(id) }
        #expect(error?.code == .corrupt && error?.description.contains(id) == true)
    }

    @Test("references are read as other programs left them last")
    func references() async throws {
        let upstream = try await Upstream()
        let repository = Repository(path: upstream.path)
        #expect(try await repository.head() == nil)
        let first = try await upstream.commit(["a": "1"])
        #expect(try await repository.head() == first)
        #expect(try await repository.reference("refs/heads/none") == nil)
        let second = try await upstream.commit(["a": "2"])
        try await git("pack-refs --all", in: upstream.path)
        #expect(try await repository.head() == second)
        #expect(try await repository.reference("refs/heads/main") == second)
    }

    @Test(
        "a folder on disk is resolved only where it stays below the root",
        arguments: [
            (".", "/tree"), ("a", "/tree/a"), ("a/../a/b", "/tree/a/b"), ("link-in", "/tree/a"), ("link-out", nil),
            ("..", nil), ("../tree", "/tree"), ("../tree-beside", nil), ("file", nil), ("missing", nil),
            ("dangling", nil), ("link-out/../tree/a", "/tree/a"),
        ])
    func resolve(folder: String, expected: String?) async throws {
        let temporary = try TemporaryFolder()
        let made = try await shell(
            """
            set -e; mkdir -p tree/a/b tree-beside outside; touch tree/file
            ln -s a tree/link-in; ln -s ../outside tree/link-out; ln -s nowhere tree/dangling
            """, in: temporary.path)
        try #require(made.verdict.isSuccess)
        #expect(resolveFolder(folder, below: temporary.path + "/tree") == expected.map { temporary.path + $0 })
    }

    @Test("below a root that is a symbolic link folders are resolved too, below none nothing is")
    func resolveRoot() async throws {
        let temporary = try TemporaryFolder()
        try #require(try await shell("mkdir -p tree/a; ln -s tree link", in: temporary.path).verdict.isSuccess)
        #expect(resolveFolder("a", below: temporary.path + "/link") == temporary.path + "/tree/a")
        #expect(resolveFolder("a", below: temporary.path + "/none") == nil)
        #expect(resolveFolder("tmp", below: "/") == "/tmp")
    }
}

import Glibc
import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct ChangedFilesTests {
    private func paths(_ files: ChangedFiles) -> [String] { files.paths.map { String(decoding: $0, as: UTF8.self) } }

    @Test("added, changed, removed, renamed, of another mode or type: every path, once; the same files are none")
    func kinds() async throws {
        let upstream = try await Upstream()
        let base = try await upstream.commit([
            "same": "1", "changed": "1", "gone": "1", "old-name": "a long enough text\n", "script": "x",
            "becomes-link": "y",
            "becomes-folder": "z",
        ])
        try await upstream.run(
            """
            git rm -q gone; git mv old-name new-name; chmod +x script; rm becomes-link; ln -s same becomes-link
            rm becomes-folder; mkdir becomes-folder; echo > becomes-folder/file; echo 2 > changed; echo > "a
            b"
            """, in: upstream.path)
        try await upstream.commit()
        let commit = try await upstream.run(
            "git update-index --add --cacheinfo 160000,\(base),module; git commit -qm module; git rev-parse HEAD | tr -d '\\n'",
            in: upstream.path)
        let repository = Repository(path: upstream.path)
        #expect(
            paths(try await repository.changedFiles(from: base, to: commit)).sorted() == [
                "a\nb", "becomes-folder", "becomes-folder/file", "becomes-link", "changed", "gone", "module",
                "new-name",
                "old-name", "script",
            ])
        #expect(try await repository.changedFiles(from: commit, to: commit).paths.isEmpty)
        #expect(paths(try await repository.changedFiles(from: nil, to: base)).count == 7)
    }

    @Test("two commits of a shallow store are compared, although the history between them is not there")
    func shallow() async throws {
        let upstream = try await Upstream()
        let base = try await upstream.commit(["a": "1", "b": "1"])
        try await upstream.fetch()
        try await upstream.commit(["a": "2"])
        try await upstream.commit(["b": "2"])
        let commit = try await upstream.commit(["c": "1"])
        try await upstream.fetch()
        #expect(paths(try await upstream.store.repository.changedFiles(from: base, to: commit)) == ["a", "b", "c"])
        #expect(
            await gitError {
                _ = try await upstream.store.repository.changedFiles(
                    from: String(repeating: "1", count: 40), to: commit)
            }?.code == .corrupt)
    }

    @Test("a commit that is only compared with is fetched beside the one that is deployed")
    func compared() async throws {
        let upstream = try await Upstream()
        let base = try await upstream.commit(["a": "1"])
        let commit = try await upstream.commit(["a": "2", "b": "1"])
        try await upstream.fetch()
        #expect(await upstream.store.fetchToCompare(base, from: upstream.remote(), upstream.program))
        #expect(await upstream.store.holds(commit))
        #expect(await upstream.store.keeps(base))
        #expect(paths(try await upstream.store.repository.changedFiles(from: base, to: commit)) == ["a", "b"])
        let nobody = String(repeating: "1", count: 40)
        #expect(await !upstream.store.fetchToCompare(nobody, from: upstream.remote(), upstream.program))
    }
}

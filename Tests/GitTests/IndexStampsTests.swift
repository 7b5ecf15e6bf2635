import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// Files that nobody touched are told by their stamps alone; whatever was done to one of them, the stamps do not vouch for it.
@Suite(.timeLimit(.minutes(1)))
struct IndexStampsTests {
    /// A checkout whose files are older than its index by more than a tick of the clock.
    ///
    /// The index is given a time to come: what a test changes then is older, too, and shows by its own stamps alone.
    private func checkout(_ files: [String: String]) async throws -> (folder: TemporaryFolder, index: String) {
        let folder = try TemporaryFolder()
        for (name, text) in files { try folder.write(name, text) }
        try await sh(
            "ln -s top link; git init -q && git add -A && touch -d '1 hour ago' -h $(git ls-files) && git add -A",
            folder)
        try await sh("cp -p top .git/top; touch -d '1 minute' .git/index", folder)
        return (folder, folder.path + "/.git/index")
    }

    private func sh(_ script: String, _ folder: TemporaryFolder) async throws {
        let result = try await shell("set -e; " + script, in: folder.path)
        try #require(result.verdict.isSuccess, "\(result.output)")
    }

    @Test("an untouched checkout, with folders, links and what is not tracked")
    func untouched() async throws {
        let (folder, index) = try await checkout(["a/b/one": "1", "a/two": "2", "top": "3", "z/four": "4"])
        try folder.write("a/b/untracked", "x")
        #expect(await IndexStamps.areCurrent(index, in: folder.path))
        #expect(await !IndexStamps.areCurrent(index + ".missing", in: folder.path))
    }

    @Test(
        "a touched one",
        arguments: [
            "echo 2 > top", "printf 9 > top; touch -d '1 hour ago' top", "rm top", "chmod +x top", "touch top",
            "rm top; mkdir top", "ln -sfn a/two link", "mv a elsewhere; ln -s elsewhere a", "cp -p top new; mv new top",
            "mv a/b b2; ln -s ../b2 a/b",
            // Only the time of change tells.
            "printf 9 > top; touch -r .git/top top",
            // A file may have changed in the very tick in which the index was written.
            "touch -r top .git/index", "touch -d '2 hours ago' .git/index",
        ])
    func touched(_ change: String) async throws {
        let (folder, index) = try await checkout(["a/b/one": "1", "a/two": "2", "top": "3", "z/four": "4"])
        try await sh(change, folder)
        #expect(await !IndexStamps.areCurrent(index, in: folder.path))
    }
}

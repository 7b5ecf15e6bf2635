import Foundation
import TestSupport
import Testing

/// Repositories of many files, and of much content.
@Suite(.timeLimit(.minutes(8)), .fewAtOnce)
struct LargeRepositoryTests {
    let box: Box

    init() async throws { box = try await Box() }

    private func once(_ settings: [String: String]) async throws -> (Ended, memory: Int) {
        let agent = try box.start("run-once", settings: settings)
        agent.watchMemory()
        let ended = try await agent.ended(within: 240)
        return (ended, agent.peakMemory)
    }

    @Test("10,000 files: deployed whole, then one that changed, and back again", arguments: ["in-place", "symlink"])
    func manyFiles(mode: String) async throws {
        try await box.sh(
            """
            for folder in $(seq 100); do
                mkdir f$folder
                for file in $(seq 100); do echo $folder $file > f$folder/$file; done
            done
            """, in: box.work)
        try await box.commit()
        let settings = [
            "AGENT_PUBLISH": mode, "PRE_DEPLOY_COMMAND": "cp \"$DEPLOY_CHANGED_FILES\" $OUT/changed",
            "PRE_DEPLOY_PATHS": "f77 app.txt",
        ]
        let whole = "git status --porcelain; git ls-files | wc -l; cat f*/* | sha256sum"
        let expected = try await box.sh(whole, in: box.work)
        let (first, memory) = try await once(settings)
        #expect(first.code == 0 && (1000..<100 * 1024).contains(memory), "\(memory) KiB, \(first)")
        #expect(try await box.sh(whole, in: box.workspace) == expected)
        box.remove("changed")
        try await box.commit(["f77/77": "changed\n"])
        let next = try await once(settings)
        #expect(next.0.code == 0 && (1000..<100 * 1024).contains(next.memory), "\(next.memory) KiB, \(next.0)")
        #expect(box.lines("changed") == ["f77/77"])
        #expect(try await box.sh(whole, in: box.workspace) == box.sh(whole, in: box.work))
        let back = try await box.agent("rollback", settings: settings)
        #expect(back.code == 0, "\(back)")
        #expect(try await box.sh(whole, in: box.workspace) == expected)
    }

    /// In bytes, where tests have their folders.
    private static var freeSpace: Int {
        let values = try? FileManager.default.attributesOfFileSystem(forPath: NSTemporaryDirectory())
        return (values?[.systemFreeSize] as? NSNumber)?.intValue ?? 0
    }

    @Test(
        "1 GB of what nothing compresses: as it was committed, in little memory of the agent's own",
        .enabled(if: freeSpace > 6 << 30, "needs 6 GiB of disk"))
    func muchContent() async throws {
        try await box.sh(
            """
            git config core.compression 0; git config core.bigFileThreshold 1m
            for part in 1 2 3 4; do head -c 268435456 /dev/urandom > part$part; done
            """, in: box.work)
        for part in 1...4 { try await box.sh("git add part\(part)", in: box.work) }
        try await box.sh("git commit -qm parts", in: box.work)
        let settings = [
            "AGENT_PUBLISH": "symlink", "GITHUB_REPO_URL": "file://\(box.work)", "AGENT_GIT_TIMEOUT": "4m",
            "POST_DEPLOY_COMMAND":
                "for part in 1 2 3 4; do cmp part$part \(box.work)/part$part || exit; done; touch $OUT/same",
        ]
        let (ended, memory) = try await once(settings)
        #expect(ended.code == 0 && box.has("same"), "\(ended)")
        #expect((1000..<100 * 1024).contains(memory), "\(memory) KiB")
    }
}

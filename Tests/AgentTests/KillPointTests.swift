import Foundation
import Glibc
import TestSupport
import Testing

/// The agent is killed in place of each single call by which it renames, links, removes, writes or waits for the disk
/// (fsync), those of the record included. Between two of them lie the calls of git.
@Suite(.timeLimit(.minutes(10)), .fewAtOnce)
struct KillPointTests {
    /// Each test goes through every step in pieces, one after the other, so that a busy machine has the limit for each of
    /// them: a piece is the first of its steps and every sixth from there on.
    private static let pieces = 1...6

    let box: Box
    private let library: String

    init() async throws {
        box = try await Box()
        library = try await Preload.library
        try await box.sh(
            """
            git init -q -b main lib; cd lib; echo v1 > lib.txt; git add -A; git commit -qm v1; cd ../dev
            git -c protocol.file.allow=always submodule --quiet add ../lib lib
            """)
        try await box.commit()
    }

    private func settings(_ mode: String) -> [String: String] {
        [
            "AGENT_PUBLISH": mode, "AGENT_KEEP_RELEASES": "1",
            "PRE_DEPLOY_COMMAND": "cat app.txt lib/lib.txt > made; echo $DEPLOY_COMMIT >> $OUT/pre",
        ]
    }

    /// What the workspace holds: the app's version, the submodule's, and what PRE_DEPLOY made of both.
    private func versions() -> [String?] {
        ["app.txt", "lib/lib.txt", "made"].map { box.text("\(box.workspace)/\($0)") }
    }

    private func whole(_ version: Int) -> [String?] {
        ["v\(version)\n", "v\(version)\n", "v\(version)\nv\(version)\n"]
    }

    /// Returns the commit's id.
    @discardableResult
    private func commit(_ version: Int) async throws -> String {
        try await box.sh(
            """
            cd lib; echo v\(version) > lib.txt; git commit -qam v\(version)
            cd ../dev/lib; git fetch -q ../../lib main; git checkout -q FETCH_HEAD
            cd ..; echo v\(version) > app.txt; git commit -qam v\(version); git push -q origin HEAD:main; git rev-parse HEAD
            """)
    }

    /// Runs the agent, to be killed at a step.
    ///
    /// - Parameter code: where it is not killed.
    /// - Returns: what was not done any more; nil where it ended by itself.
    private func killed(
        _ arguments: [String], at step: Int, _ settings: [String: String], code: Int = 0
    ) async throws -> String? {
        box.remove("steps")
        box.remove("steps.killed")
        let more = ["LD_PRELOAD": library, "PRELOAD_COUNT": box.out + "/steps", "PRELOAD_KILL_AT": "\(step)"]
        let ended = try await box.start(program: [agentBinary] + arguments, settings.merging(more) { $1 }).ended()
        guard box.has("steps.killed") else {
            #expect(ended.code == code, "\(ended)")
            return nil
        }
        return box.text(box.out + "/steps.killed")
    }

    @Test(
        "a deployment that was killed at any step is made whole by the next check", .serialized,
        arguments: ["in-place", "symlink"], pieces)
    func deployment(mode: String, piece: Int) async throws {
        let settings = settings(mode)
        #expect(try await box.once(settings).outcome == "deployed")
        var version = 1
        // The last steps tidy up, after the deployment: there one may be killed, too, and nothing is due.
        var step = piece
        while true {
            version += 1
            try await commit(version)
            guard let name = try await killed(["run-once"], at: step, settings) else { break }
            if mode == "symlink" {
                // Never a mixture, whenever it was.
                let now = versions()
                #expect(now == whole(version) || now == whole(version - 1), "step \(step), \(name): \(now)")
            }
            let once = try await box.once(settings)
            #expect(once.code == 0 && versions() == whole(version), "step \(step), \(name): \(once)")
            step += Self.pieces.count
        }
        #expect(step > 80 && versions() == whole(version), "\(step)")
        let left = try await box.sh(
            "find state -name '*.lock' -size 0 -o -name stage -o -name work -mindepth 5 -o -name '*.agent-new'; find . -maxdepth 1 -name '.*agent-new'"
        )
        #expect(left.isEmpty, "\(left)")
        if mode == "symlink" {
            let releases = try await box.sh("ls state/workspaces/*/releases | wc -l")
            #expect(releases.trimmingCharacters(in: .whitespaces) == "2")
        }
    }

    @Test(
        "a rollback that was killed at any step is carried out by the next check", .serialized,
        arguments: [("in-place", ["--with-pre"]), ("symlink", [])], pieces)
    func rollback(way: (mode: String, options: [String]), piece: Int) async throws {
        let (mode, options) = way
        let settings = settings(mode)
        #expect(try await box.once(settings).outcome == "deployed")
        try await commit(2)
        #expect(try await box.once(settings).outcome == "deployed")
        var step = piece
        while let name = try await killed(["rollback"] + options, at: step, settings) {
            if mode == "symlink" {
                let now = versions()
                #expect(now == whole(1) || now == whole(2), "step \(step), \(name): \(now)")
            }
            let once = try await box.once(settings)
            // Killed before it was asked for: then nothing has happened.
            if versions() == whole(2), once.outcome == "unchanged" {
                #expect(try await box.history()[0]["trigger"].string != "rollback", "step \(step), \(name): \(once)")
            } else {
                #expect(versions() == whole(1), "step \(step), \(name): \(versions()) \(once)")
            }
            let forward = try await box.once(settings, force: true)
            #expect(forward.outcome == "deployed" && versions() == whole(2), "step \(step), \(name): \(forward)")
            step += Self.pieces.count
        }
        // Where the release is there only its link moves.
        #expect(step > 40 && versions() == whole(1), "\(step) \(versions())")
    }

    @Test(
        "a failure that is rolled back from by itself, killed at any step, comes to the same at the next check",
        .serialized, arguments: pieces)
    func onFailure(piece: Int) async throws {
        let settings = settings("symlink").merging([
            "AGENT_ON_FAILURE": "rollback", "POST_DEPLOY_MODE": "strict", "POST_DEPLOY_RETRIES": "0",
            "POST_DEPLOY_COMMAND": "test \"$(cat app.txt)\" = v1",
        ]) { $1 }
        #expect(try await box.once(settings).outcome == "deployed")
        var (version, step) = (1, piece)
        while true {
            version += 1
            let held = try await commit(version)
            guard let name = try await killed(["run-once"], at: step, settings, code: 1) else { break }
            let now = versions()
            #expect(now == whole(version) || now == whole(1), "step \(step), \(name): \(now)")
            let once = try await box.once(settings)
            #expect(versions() == whole(1), "step \(step), \(name): \(versions()) \(once)")
            #expect(try await box.once(settings).outcome == "unchanged", "step \(step), \(name)")
            let newest = try await box.history()[0]
            #expect(newest["held_commit"].string == held && newest["status"].string == "succeeded", "step \(step)")
            step += Self.pieces.count
        }
        #expect(step > 120 && versions() == whole(1), "\(step) \(versions())")
    }

    @Test(
        "a change from a link to a checkout that was killed at any step is made whole by the next check", .serialized,
        arguments: pieces)
    func goesOver(piece: Int) async throws {
        let (link, place) = (settings("symlink"), settings("in-place"))
        var (version, step) = (1, piece)
        while true {
            try? FileManager.default.removeItem(atPath: box.workspace)
            #expect(try await box.once(link, force: true).outcome == "deployed")
            version += 1
            try await commit(version)
            guard let name = try await killed(["run-once"], at: step, place) else { break }
            let once = try await box.once(place)
            #expect(once.code == 0 && versions() == whole(version), "step \(step), \(name): \(once)")
            let attributes = try FileManager.default.attributesOfItem(atPath: box.workspace)
            #expect(attributes[.type] as? FileAttributeType == .typeDirectory, "step \(step), \(name)")
            step += Self.pieces.count
        }
        #expect(step > 80 && versions() == whole(version), "\(step)")
    }
}

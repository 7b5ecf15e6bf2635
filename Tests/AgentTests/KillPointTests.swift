import Foundation
import Glibc
import TestSupport
import Testing

/// The agent is killed before, or right after, each single call of git that it makes: each step of fetching, staging,
/// publishing, going back and tidying up ends at one.
@Suite(.timeLimit(.minutes(5)), .fewAtOnce)
struct KillPointTests {
    let box: Box

    init() async throws {
        box = try await Box()
        // Counts its calls, and kills who called it at the one that is wished for.
        try box.install(
            "git",
            """
            if [ -n "$KILL_AT" ]; then
                echo >> "$OUT/calls"
                if [ "$(wc -l < "$OUT/calls")" = "$KILL_AT" ]; then
                    [ "$KILL_AFTER" != yes ] || /usr/bin/git "$@" > /dev/null 2>&1
                    touch "$OUT/killed"
                    kill -9 $PPID
                fi
            fi
            exec /usr/bin/git "$@"

            """)
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

    private func commit(_ version: Int) async throws {
        try await box.sh("echo v\(version) > lib.txt; git commit -qam v\(version)", in: box.root + "/lib")
        try await box.sh("cd lib; git pull -q ../../lib main", in: box.work)
        try await box.commit(["app.txt": "v\(version)\n"])
    }

    /// Runs the agent, to be killed at a call.
    /// - Returns: whether it was killed.
    private func isKilled(_ arguments: [String], at call: Int, after: Bool, _ settings: [String: String]) async throws
        -> Bool
    {
        box.remove("calls")
        box.remove("killed")
        let more = ["KILL_AT": "\(call)", "KILL_AFTER": after ? "yes" : "no"]
        _ = try await box.start(program: [agentBinary] + arguments, settings.merging(more) { $1 }).ended()
        return box.has("killed")
    }

    @Test(
        "a deployment that was killed at any step is made whole by the next check", arguments: ["in-place", "symlink"],
        [false, true])
    func deployment(mode: String, after: Bool) async throws {
        let settings = settings(mode)
        #expect(try await box.once(settings).outcome == "deployed")
        var version = 1
        // The last calls tidy up, after the deployment: there one may be killed, too, and nothing is due.
        var call = 1
        while true {
            version += 1
            try await commit(version)
            guard try await isKilled(["run-once"], at: call, after: after, settings) else { break }
            if mode == "symlink" {
                // Never a mixture, whenever it was.
                let now = versions()
                #expect(now == whole(version) || now == whole(version - 1), "call \(call): \(now)")
            }
            let once = try await box.once(settings)
            #expect(once.code == 0 && versions() == whole(version), "call \(call): \(once)")
            call += 1
        }
        #expect(call > 10 && versions() == whole(version), "\(call)")
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
        "a rollback that was killed at any step is carried out by the next check", arguments: ["in-place", "symlink"])
    func rollback(mode: String) async throws {
        let settings = settings(mode)
        #expect(try await box.once(settings).outcome == "deployed")
        try await commit(2)
        #expect(try await box.once(settings).outcome == "deployed")
        var call = 1
        while try await isKilled(["rollback", "--with-pre"], at: call, after: false, settings) {
            let once = try await box.once(settings)
            // Killed before it was asked for: then nothing has happened.
            if versions() == whole(2), once.outcome == "unchanged" {
                #expect(call == 1, "call \(call): \(once)")
            } else {
                #expect(versions() == whole(1), "call \(call): \(versions()) \(once)")
            }
            let forward = try await box.once(settings, force: true)
            #expect(forward.outcome == "deployed" && versions() == whole(2), "call \(call): \(forward)")
            call += 1
        }
        #expect(call > 3 && versions() == whole(1), "\(call) \(versions())")
    }
}

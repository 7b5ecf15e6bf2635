import Foundation
import Glibc
import TestSupport
import Testing

/// What an agent takes of the disk, however many deployments there were.
@Suite(.timeLimit(.minutes(4)), .fewAtOnce)
struct DiskTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// Commits so many files that nothing compresses.
    private func push(files: Int, from first: Int = 1) async throws {
        try await box.sh(
            "for i in $(seq \(first) \(first + files - 1)); do head -c 3000 /dev/urandom > f$i; done", in: box.work)
        try await box.commit()
    }

    /// Bytes of all objects, of the agent's repository and of the checkout's; what is one file counts once.
    private func objects() async throws -> Int {
        let text = try await box.sh(
            "du -sck state/workspaces/*/repo.git/objects $(ls -d ws/.git/objects 2>/dev/null) | tail -n 1 | cut -f 1")
        return (Int(text) ?? -1) * 1024
    }

    /// Bytes of a pack of the newest commits alone, as git makes it.
    private func needed(_ commits: Int) async throws -> Int {
        let text = try await box.sh(
            "rm -rf fresh; git clone -q --bare --depth=\(commits) file://$PWD/up.git fresh; git -C fresh repack -adq; du -sk fresh/objects | cut -f 1"
        )
        return (Int(text) ?? -1) * 1024
    }

    private func whole() async throws {
        for repository in ["state/workspaces/*/repo.git", "ws"] {
            let found = try await box.sh(
                "cd \(repository); git fsck --full --no-dangling 2>&1 | grep -v '^notice' || true")
            #expect(found.isEmpty, "\(repository): \(found)")
        }
    }

    @Test(
        "after each deployment there are the kept releases and at most twice the pack that is needed",
        arguments: [("symlink", "0"), ("symlink", "2"), ("in-place", "0"), ("in-place", "2")])
    func bounded(mode: String, keep: String) async throws {
        let settings = ["AGENT_PUBLISH": mode, "AGENT_KEEP_RELEASES": keep]
        let kept = try #require(Int(keep)) + 1
        for round in 1...5 {
            try await push(files: 120)
            let once = try await box.once(settings)
            #expect(once.outcome == "deployed" && !once.ended.errors.contains("could not be"), "\(once)")
            let (there, needed) = try await (objects(), needed(min(kept, round)))
            #expect(there <= 2 * needed, "round \(round): \(there) of \(needed)")
            let releases = try await box.sh("ls state/workspaces/*/releases 2>/dev/null | wc -l")
            #expect(releases == (mode == "symlink" ? "\(min(kept, round))" : "0"))
        }
        try await whole()
    }

    @Test(
        "what a way back, or a commit that deletes, leaves needless is gone after it",
        arguments: ["symlink", "in-place"])
    func nothingNew(mode: String) async throws {
        let settings = ["AGENT_PUBLISH": mode, "AGENT_KEEP_RELEASES": "0"]
        try await push(files: 3)
        try await push(files: 110, from: 4)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await objects() > 330_000)
        try await box.sh("git reset -q --hard HEAD^; git push -q -f origin HEAD:main", in: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await objects() < 110_000)
        try await push(files: 110, from: 4)
        #expect(try await box.once(settings).outcome == "deployed")
        try await box.sh("git rm -q 'f*'", in: box.work)
        try await box.commit()
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await objects() < 110_000)
        try await whole()
    }

    @Test(
        "a PRE_DEPLOY that fails for one commit after the other leaves nothing of them",
        arguments: ["symlink", "in-place"])
    func failures(mode: String) async throws {
        let settings = ["AGENT_PUBLISH": mode, "AGENT_KEEP_RELEASES": "0"]
        try await push(files: 120)
        #expect(try await box.once(settings).outcome == "deployed")
        for round in 1...4 {
            try await push(files: 120)
            let once = try await box.once(settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 })
            #expect(once.outcome == "failed", "\(once)")
            // The one that is live, and the one that is tried.
            let (there, needed) = try await (objects(), needed(2))
            #expect(there <= 2 * needed, "round \(round): \(there) of \(needed)")
        }
        try await whole()
    }

    @Test("a commit whose app spec is wrong is fetched and not deployed: many of them do not pile up")
    func refused() async throws {
        let settings = ["AGENT_KEEP_RELEASES": "0"]
        try await push(files: 120)
        #expect(try await box.once(settings).outcome == "deployed")
        try await box.commit(["appspec.yaml": "envs: nonsense\n"])
        for _ in 1...4 {
            try await push(files: 120)
            #expect(try await box.once(settings).code == 78)
        }
        #expect(try await objects() <= 2 * needed(2))
        try await whole()
    }

    @Test(
        "SIGKILL of agent and git while it is tidied up: nothing is lost, and the next deployment has room again",
        arguments: ["symlink", "in-place"], ["prune", "rev-list", "repack"])
    func killed(mode: String, command: String) async throws {
        // A half of the files each time: then packs are written anew.
        let settings = ["AGENT_PUBLISH": mode, "AGENT_KEEP_RELEASES": "0"]
        try await push(files: 120)
        #expect(try await box.once(settings).outcome == "deployed")
        try box.install(
            "git",
            """
            case " $* " in *" \(command) "*)
                if mkdir $OUT/hung 2>/dev/null; then
                    agent=$PPID; folder=$PWD
                    /usr/bin/git "$@" & git=$!
                    if test \(command) = repack; then
                        for try in $(seq 2000); do ls -A objects/pack | grep -q tmp && break; done
                        cp /etc/passwd objects/pack/.tmp-1-pack-left.pack
                    fi
                    kill -9 $git $agent; wait
                fi;;
            esac
            exec /usr/bin/git "$@"
            """)
        try await push(files: 60)
        let ended = try await box.agent("run-once", settings: settings)
        #expect(ended.code == 137 && box.has("hung"), "\(ended)")
        #expect(try await box.once(settings).outcome == "unchanged")
        try await whole()
        try await push(files: 120)
        #expect(try await box.once(settings).outcome == "deployed")
        let (there, needed) = try await (objects(), needed(1))
        #expect(there <= 2 * needed, "\(there) of \(needed)")
        #expect(try await box.sh("ls -A state/workspaces/*/repo.git/objects/pack | grep -c tmp || true") == "0")
        try await whole()
    }

    @Test(
        "what cannot be tidied up is a warning, and no failure of the deployment", arguments: ["symlink", "in-place"])
    func noSpace(mode: String) async throws {
        let settings = ["AGENT_PUBLISH": mode, "AGENT_KEEP_RELEASES": "0"]
        try await push(files: 120)
        #expect(try await box.once(settings).outcome == "deployed")
        try box.install(
            "git",
            """
            case " $* " in *" repack "*) echo 'fatal: write error: No space left on device' >&2; exit 128;; esac
            exec /usr/bin/git "$@"
            """)
        try await push(files: 60)
        let once = try await box.once(settings)
        #expect(once.code == 0 && once.outcome == "deployed", "\(once)")
        #expect(once.ended.errors.contains("WARN") && once.ended.errors.contains("No space left on device"), "\(once)")
        try await whole()
        try await box.sh("rm bin/git")
        try await push(files: 1)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await objects() <= 2 * needed(1))
    }

    @Test(
        "on a disk with hardly any room left commits are deployed, and what is not needed goes without any",
        .enabled(if: mayMount, "a file system of its own cannot be mounted here"))
    func smallDisk() async throws {
        let settings = ["AGENT_PUBLISH": "symlink", "AGENT_KEEP_RELEASES": "0"]
        // For two commits with their releases, and the record.
        try await box.sh("mkdir state; mount -t tmpfs -o size=6m none state")
        do {
            for round in 1...6 {
                try await box.sh("for i in $(seq 120); do head -c 8000 /dev/urandom > f$i; done", in: box.work)
                try await box.commit()
                let once = try await box.once(settings)
                #expect(once.outcome == "deployed", "round \(round): \(once)")
            }
        } catch {
            _ = try? await box.sh("umount -l state")
            throw error
        }
        try await box.sh("umount -l state")
    }

    private static let mayMount: Bool = {
        guard geteuid() == 0 else { return false }
        let folder = NSTemporaryDirectory() + "/mount-" + UUID().uuidString
        mkdir(folder, 0o700)
        defer { rmdir(folder) }
        guard mount("none", folder, "tmpfs", 0, "size=64k") == 0 else { return false }
        umount2(folder, 2)
        return true
    }()

    @Test("a workspace that the agent made has one commit, also where the first deployed was the repository's first")
    func firstCommit() async throws {
        for number in 1...4 {
            if number > 1 { try await box.commit(["app.txt": "v\(number)\n"]) }
            #expect(try await box.once().outcome == "deployed")
            #expect(try await box.sh("git rev-list --count HEAD", in: box.workspace) == "1")
        }
    }
}

import Foundation
import Glibc
import Testing

/// Whether a mount namespace of one's own may be made here.
private let mayMount = geteuid() == 0 && system("unshare -m true 2>/dev/null") == 0

/// A commit is live as a whole, or the one before it is.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct WholeCommitTests {
    let box: Box

    init() async throws {
        box = try await Box()
        try await box.commit(["a": "1\n", "config.yml": "1\n", "ro/f": "1\n", "z": "1\n", "uploads/.gitkeep": ""])
    }

    private static let hook = ["PRE_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT_SHORT >> $OUT/pre"]

    /// What is live, in one line.
    private func live() async throws -> String {
        try await box.sh("cat a ro/f z config.yml | tr -d '\\n'; git log -1 --format=' %s'", in: box.workspace)
    }

    /// Makes one check in a mount namespace, after a script that prepares it.
    private func once(_ script: String, _ settings: [String: String] = Self.hook) async throws -> Box.Once {
        let ended = try await box.start(
            program: [
                "unshare", "-m", "sh", "-ec", "cd '\(box.root)'; \(script); exec \"$0\" run-once --json", agentBinary,
            ], settings
        ).ended()
        return Box.Once(ended: ended, json: (try? JSON(ended.output)) ?? .missing)
    }

    @Test("untracked files do not make way for a link: failed before PRE_DEPLOY runs, told by check, and then deployed")
    func uploads() async throws {
        #expect(try await box.once(Self.hook).outcome == "deployed")
        let first = try await box.head()
        for number in 1...4 { try box.write("photo", to: "\(box.workspace)/uploads/2026/\(number).jpg") }
        try await box.sh("git rm -rq uploads; ln -s /srv/uploads uploads", in: box.work)
        try await box.commit(["a": "2\n"])
        let refused = try await box.once(Self.hook)
        #expect(refused.code == 1 && refused.runs.isEmpty && box.lines("pre").count == 1, "\(refused)")
        let message = refused.deployment["error_message"].string ?? ""
        #expect(message.contains("uploads is a symbolic link in the commit"), "\(message)")
        #expect(message.contains("4 untracked files (uploads/2026/1.jpg, ") && message.contains("mv '"), "\(message)")
        #expect(try await box.head() == first && box.text(box.workspace + "/uploads/2026/4.jpg") == "photo")
        let check = try await box.agent("check")
        #expect(check.code == 0 && check.errors.contains("4 untracked files"), "\(check)")
        try await box.sh("mv ws/uploads ws-uploads")
        #expect(try await box.once(Self.hook).outcome == "deployed")
        #expect(try await box.sh("readlink ws/uploads") == "/srv/uploads" && box.lines("pre").count == 2)
        #expect(try await !box.agent("check").errors.contains("untracked"))
    }

    @Test(
        "a file that is mounted over one of the commit's is named before PRE_DEPLOY runs, whether the commit changes it or not",
        .enabled(if: mayMount), arguments: [["a": "2\n", "z": "2\n"], ["config.yml": "2\n"]])
    func mounted(change: [String: String]) async throws {
        #expect(try await box.once(Self.hook).outcome == "deployed")
        try await box.commit(change, "two")
        let once = try await once("echo mine > host.yml; mount --bind host.yml ws/config.yml")
        #expect(once.code == 1 && once.runs.isEmpty && box.lines("pre").count == 1, "\(once)")
        #expect(once.deployment["error_message"].string?.contains("config.yml is a mount point") == true, "\(once)")
        #expect(try await live().hasPrefix("1111"))
        // The same content is no obstacle, nor is a folder.
        let same = try await self.once(
            "git -C dev show HEAD:config.yml > same.yml; mkdir data; echo 1 > data/f; mount --bind same.yml ws/config.yml; mount --bind data ws/ro"
        )
        #expect(change["config.yml"] != nil || same.outcome == "deployed", "\(same)")
    }

    @Test("a folder of another user is named before PRE_DEPLOY runs", .enabled(if: geteuid() == 0))
    func forbidden() async throws {
        try await box.sh(
            "cp '\(agentBinary)' deploy-agent; chmod 755 .; mkdir -p state ws; chown 65534:65534 . out state ws")
        let program = [
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", box.root + "/deploy-agent", "run-once",
            "--json",
        ]
        #expect(try await box.start(program: program, Self.hook).ended().code == 0)
        try await box.sh("chown -R 0:0 ws/ro")
        try await box.commit(["a": "2\n", "ro/f": "2\n", "z": "2\n"])
        let refused = try await box.start(program: program, Self.hook).ended()
        #expect(refused.code == 1 && box.lines("pre").count == 1, "\(refused)")
        #expect(refused.output.contains("nothing can be written to the folder ro (Permission denied"), "\(refused)")
        #expect(try await box.sh("cat ws/a ws/ro/f ws/z | tr -d '\\n'") == "111")
        // What does not touch it is deployed.
        try await box.sh("git revert --no-edit HEAD", in: box.work)
        try await box.commit(["a": "3\n"])
        #expect(try await box.start(program: program, Self.hook).ended().code == 0)
    }

    @Test(
        "a place where nothing can be made is named before PRE_DEPLOY runs", .enabled(if: geteuid() == 0),
        arguments: [
            ("in-place", "chown 0:0 parent"), ("symlink", "chown 0:0 parent"), ("in-place", "chown 0:0 parent/ws/.git"),
            ("in-place", "chown 0:0 parent/ws"),
        ])
    func place(mode: String, script: String) async throws {
        try await box.sh(
            "cp '\(agentBinary)' deploy-agent; chmod 755 .; mkdir -p state parent; chown 65534:65534 . out state parent"
        )
        let program = [
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", box.root + "/deploy-agent", "run-once",
        ]
        let settings = Self.hook.merging(["WORKSPACE_PATH": box.root + "/parent/ws", "AGENT_PUBLISH": mode]) { $1 }
        let isFirst = script == "chown 0:0 parent" && mode == "in-place"
        if !isFirst { #expect(try await box.start(program: program, settings).ended().code == 0) }
        try await box.sh(script)
        try await box.commit(["a": "2\n"])
        let refused = try await box.start(program: program, settings).ended()
        #expect(refused.code == 1 && refused.errors.contains("Permission denied"), "\(refused)")
        #expect(
            refused.errors.contains("give it to the agent's user") && box.lines("pre").count == (isFirst ? 0 : 1),
            "\(refused)")
        try await box.sh("chown -R 65534:65534 parent")
        #expect(try await box.start(program: program, settings).ended().code == 0)
    }

    @Test(
        "on a full disk the live commit stays, and is what the status shows", .enabled(if: mayMount),
        arguments: [2_400_000, 1_600_000])
    func full(bytes: Int) async throws {
        // The smaller one finds room before it is fetched, and none after that.
        let small = box.root + "/small"
        try await box.sh("mkdir small; head -c 200000 /dev/urandom > dev/m")
        try await box.commit([:], "one")
        let place = ["WORKSPACE_PATH": small + "/app"].merging(Self.hook) { $1 }
        let script = """
            mount -t tmpfs -o size=3m tmpfs small; "$0" run-once >/dev/null
            head -c \(bytes) /dev/urandom > dev/m; echo 2 > dev/a; echo 2 > dev/z
            git -C dev add -A; git -C dev -c user.name=a -c user.email=a@example.org commit -qm two; git -C dev push -q origin HEAD:main
            cp -a small/app before; before() { (cd $1; find . -name .git -prune -o -type f -print | sort | xargs sha256sum); }
            "$0" run-once >/dev/null || true; before before > before.sum; before small/app > after.sum; cmp before.sum after.sum
            git -C small/app log -1 --format=%s; git -C small/app status --porcelain; "$0" status --json; "$0" show --json 2 || true
            """
        let ended = try await box.start(
            program: ["unshare", "-m", "sh", "-ec", "cd '\(box.root)'; \(script)", agentBinary], place
        ).ended()
        #expect(ended.code == 0 && ended.output.hasPrefix("one\n{"), "\(ended)")
        #expect(ended.output.contains(bytes > 2_000_000 ? "make room" : "free"), "\(ended)")
        let first = try await box.sh("git rev-parse HEAD~", in: box.work)
        #expect(ended.output.contains("\"commit\" : \"\(first)\""), "\(ended)")
    }

    @Test(
        "a checkout whose work tree is another folder is refused before anything runs, with a remote and without",
        arguments: [true, false])
    func elsewhere(hasRemote: Bool) async throws {
        try await box.cloneWorkspace()
        try await box.sh(
            "git clone -q up.git desk; echo work >> desk/a; git config -f ws/.git/config core.worktree ../../desk")
        try await box.commit(["a": "2\n"])
        let before = try await box.fingerprint(box.root + "/desk")
        let once = try await box.once(Self.hook.merging(hasRemote ? [:] : ["GITHUB_REPO_URL": ""]) { $1 })
        #expect(once.code == 78 && box.lines("pre").isEmpty, "\(once)")
        #expect(once.ended.errors.contains("core.worktree") && once.ended.errors.contains("/desk"), "\(once)")
        #expect(try await box.fingerprint(box.root + "/desk") == before)
        #expect(try await box.agent("check").errors.contains("core.worktree"))
    }

    @Test(
        "what PRE_DEPLOY makes of a tracked file is published by its bytes, whatever git's filters make of it",
        arguments: ["in-place", "symlink"])
    func filters(mode: String) async throws {
        try await box.sh("printf '#!/bin/sh\\necho started\\n' > start.sh; chmod +x start.sh", in: box.work)
        try await box.commit([
            ".gitattributes": "*.sh text eol=crlf\n*.env filter=vault\n", "secrets.env": "CNFFJBEQ=fjbeqsvfu\n",
        ])
        try box.install("rot", "tr A-Za-z N-ZA-Mn-za-m")
        let settings = [
            "AGENT_PUBLISH": mode,
            "PRE_DEPLOY_COMMAND":
                "sed -i 's/\\r$//' start.sh; git config filter.vault.clean rot; git config filter.vault.smudge rot; rm secrets.env; git checkout -- secrets.env",
            "POST_DEPLOY_COMMAND": "./start.sh > $OUT/post; cat secrets.env >> $OUT/post", "POST_DEPLOY_MODE": "strict",
        ]
        for number in 1...2 {
            try await box.commit(["a": "\(number)\n"])
            let once = try await box.once(settings)
            #expect(once.outcome == "deployed" && !once.ended.errors.contains("discarded"), "\(once)")
            #expect(box.lines("post") == ["started", "PASSWORD=swordfish"])
        }
    }

    @Test(
        "a commit that skips PRE_DEPLOY does so where git calls a file changed that nobody changed",
        arguments: ["in-place", "symlink"])
    func skipped(mode: String) async throws {
        try await box.sh("printf 'a\\r\\n' > p.csproj; git add -A; git commit -qm crlf", in: box.work)
        try await box.sh(
            "echo '*.csproj text eol=crlf' > .gitattributes; git add .gitattributes; git commit -qm attributes",
            in: box.work)
        let settings = Self.hook.merging(["AGENT_PUBLISH": mode, "PRE_DEPLOY_PATHS": "*.sql"]) { $1 }
        for number in 1...3 {
            try box.write("\(number)", to: box.work + "/b")
            try await box.sh("git add b; git commit -qm \(number); git push -q origin HEAD:main", in: box.work)
            let once = try await box.once(settings)
            #expect(once.outcome == "deployed" && !once.ended.errors.contains("discarded"), "\(once)")
            #expect(once.runs.first?["status"].string == (number == 1 ? "succeeded" : "skipped"), "\(once)")
        }
    }
}

import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// What publishing does with what stands in the workspace.
@Suite(.timeLimit(.minutes(1)))
struct PublishInPlaceTests {
    /// What git sees changed among tracked files of the workspace.
    private func status(_ upstream: Upstream) async throws -> String {
        try await git("status --porcelain --untracked-files=no", in: upstream.workspace.path)
    }

    @Test("a workspace is made with modes and links as the commit has them, and with its origin")
    func fresh() async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(
            script: "mkdir d; echo 1 > d/a; printf x > run; chmod +x run; ln -s d/a link")
        let discarded = try await upstream.publish()
        #expect(discarded.paths.isEmpty && discarded.locks.isEmpty)
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == commit)
        #expect(try await git("remote get-url origin", in: upstream.workspace.path) == upstream.path)
        #expect(try await upstream.run("test -x run && test -L link && cat link") == "1\n")
        #expect(try await status(upstream) == "")
    }

    @Test("the lost+found of a file system that was just made stays where it is, closed to this user as it may be")
    func freshFileSystem() async throws {
        let upstream = try await Upstream()
        let path = upstream.workspace.path
        _ = try await shell("mkdir -p \(path)/lost+found; chmod 000 \(path)/lost+found", in: "/")
        for content in ["1", "2"] {
            let commit = try await upstream.commit(["a": content])
            let discarded = try await upstream.publish()
            #expect(discarded.paths.isEmpty)
            #expect(try await git("rev-parse HEAD", in: path) == commit)
            #expect(try await shell("stat -c %a lost+found; cat a", in: path).output == "0\n\(content)")
        }
        _ = try await shell("chmod 700 lost+found", in: path)
    }

    @Test("origin follows the remote's URL where the agent has set it, and nobody another one since")
    func origin() async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(["a": "1"])
        try await upstream.publish()
        let workspace = upstream.workspace.path
        func publish(_ origin: String) async throws -> String {
            _ = try await upstream.workspace.publish(
                commit, from: upstream.store, stagedOutput: false, origin: origin, upstream.program)
            return try await git("remote get-url origin", in: workspace)
        }
        #expect(try await publish("https://new.example/x") == "https://new.example/x")
        // Broken off between the URL and the note of it.
        try await git("remote set-url origin https://newer.example/x", in: workspace)
        #expect(try await publish("https://newer.example/x") == "https://newer.example/x")
        #expect(try await publish("https://newest.example/x") == "https://newest.example/x")
        try await git("remote set-url origin git@mine:x", in: workspace)
        #expect(try await publish("https://last.example/x") == "git@mine:x")
        // A clone of somebody's own.
        try await git("config --unset deployagent.origin", in: workspace)
        try await git("remote set-url origin https://last.example/x", in: workspace)
        #expect(try await publish("https://other.example/x") == "https://last.example/x")
        try await git("remote remove origin", in: workspace)
        try await upstream.publish()
        #expect(try await git("remote", in: workspace) == "")
    }

    @Test(
        "commits that were published before are let go; where a person has worked nothing is", arguments: [false, true])
    func earlierCommits(hasPerson: Bool) async throws {
        let upstream = try await Upstream()
        // What has no history is a whole one, and stays so.
        try await upstream.commit(["a": "0"])
        let first = try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.workspace.tidy(upstream.program)
        let workspace = upstream.workspace.path
        if hasPerson { try await git("commit -q --allow-empty -m own", in: workspace) }
        let before = try await git("rev-parse HEAD", in: workspace)
        // More than what is looked at at once.
        try await upstream.commit(script: "for i in $(seq 90); do echo $i > f$i; done")
        try await upstream.publish()
        try await upstream.workspace.tidy(upstream.program)
        try await upstream.commit(script: "git rm -q 'f*'")
        try await upstream.publish()
        try await upstream.workspace.tidy(upstream.program)
        for commit in [first, before] {
            let found = try await shell("git cat-file -e \(commit)", in: workspace)
            #expect(found.verdict.isSuccess == hasPerson)
        }
        #expect(try await git("reflog", in: workspace).contains(first) == hasPerson)
        #expect(try await git("fsck --full", in: workspace).contains("missing") == false)
    }

    @Test("untracked files and folders stay, ignored ones too, and a tracked file's mode is set")
    func untracked() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(script: "echo 1 > a; mkdir d; echo 1 > d/gone; echo '*.log' > .gitignore")
        try await upstream.publish()
        try await upstream.run("echo l > x.log; echo u > d/untracked; mkdir -p empty/folder")
        try await upstream.commit(script: "rm d/gone; chmod +x a")
        #expect(try await upstream.publish().paths.isEmpty)
        #expect(upstream.folder.read("ws/x.log") == "l\n" && upstream.folder.read("ws/d/untracked") == "u\n")
        #expect(upstream.folder.exists("ws/empty/folder") && !upstream.folder.exists("ws/d/gone"))
        #expect(try await upstream.run("test -x a && echo yes") == "yes\n")
    }

    @Test(
        "local changes of every kind are discarded and named",
        arguments: [
            ("echo local > a; git add a", "a"), ("rm a", "a"), ("git rm -q --cached a; echo local > a", "a"),
            ("chmod +x a", "a"), ("rm a; ln -s b a", "a"), ("mv a c", "a"),
            ("echo local > 'd/é \"q\"'", "d/é \"q\""), ("rm -r d; echo file > d", "d/é \"q\""),
        ])
    func localChanges(script: String, path: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(script: "echo 1 > a; echo 1 > b; mkdir d; echo 1 > 'd/é \"q\"'")
        try await upstream.publish()
        try await upstream.run(script)
        try await upstream.commit(["b": "2"])
        #expect(try await upstream.publish().paths.contains(path))
        let folder = upstream.folder
        #expect(folder.read("ws/a") == "1\n" && folder.read("ws/b") == "2" && folder.read("ws/d/é \"q\"") == "1\n")
        #expect(try await status(upstream) == "")
    }

    @Test(
        "a file that was added to the index without a commit stays as the untracked file that it is",
        arguments: ["git add mine", "git add -N mine", "git add mine; echo mine > mine; git add -N mine"])
    func added(script: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run("echo mine > mine; \(script)")
        try await upstream.commit(["a": "2"])
        #expect(try await upstream.publish().paths.isEmpty)
        #expect(upstream.folder.read("ws/mine") == "mine\n" && upstream.folder.read("ws/a") == "2")
    }

    @Test(
        "in a checkout without a commit, what was added to the index stays", arguments: ["git add .", "git add -N ."])
    func addedUnborn(script: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.run(
            "git init -q ws; cd ws; mkdir d; echo mine > d/mine; echo mine > a; \(script)", in: "up/..")
        #expect(try await upstream.publish().paths == ["a"])
        #expect(upstream.folder.read("ws/d/mine") == "mine\n" && upstream.folder.read("ws/a") == "1")
    }

    @Test("a file of a broken-off merge that HEAD does not have stays, and is not called a change")
    func unmergedWithoutHead() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "b": "1"])
        try await upstream.publish()
        try await upstream.run(
            """
            git checkout -q -b side; echo side > b; git commit -q -am side; git checkout -q -b mine HEAD~
            git rm -q b; git commit -q -m mine; git merge side >/dev/null 2>&1 || true
            """)
        #expect(try await status(upstream) == "DU b")
        try await upstream.commit(["a": "2", "b": nil])
        #expect(try await upstream.publish().paths.isEmpty)
        #expect(upstream.folder.read("ws/b") == "side\n" && upstream.folder.read("ws/a") == "2")
    }

    /// Makes the workspace a linked work tree of a clone beside it; returns a script that prints the clone's index.
    private func linkWorkspace(_ upstream: Upstream) async throws -> String {
        try await upstream.run("git clone -q up main; git -C main worktree add -q --detach ../ws", in: "up/..")
        return "git ls-files --stage; sha256sum .git/index"
    }

    @Test("a damaged index is set aside and made anew; that of another work tree is not touched")
    func damagedIndexOfLinkedWorkTree() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        let show = try await linkWorkspace(upstream)
        let before = try await upstream.run(show, in: "main")
        try await upstream.run("printf damaged > $(git rev-parse --git-dir)/index")
        try await upstream.commit(["a": "2"])
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "2")
        #expect(try await status(upstream) == "")
        #expect(try await upstream.run("cat $(git rev-parse --git-dir)/index.damaged") == "damaged")
        #expect(try await upstream.run(show, in: "main") == before)
    }

    @Test("a git that fails for another reason than a damaged index fails the publishing, and every index stays")
    func soundIndexStays() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1"])
        let show = try await linkWorkspace(upstream)
        let before = try await upstream.run(show, in: "main")
        let own = try await upstream.run("sha256sum $(git rev-parse --git-dir)/index")
        try await upstream.run("git config status.showUntrackedFiles nonsense", in: "main")
        try await upstream.commit(["a": "2"])
        let error = await gitError { try await upstream.publish() }
        #expect(error?.code == .publish && error?.explanation.contains("nonsense") == true)
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == first)
        #expect(try await upstream.run("sha256sum $(git rev-parse --git-dir)/index") == own)
        try await upstream.run("git config --unset status.showUntrackedFiles", in: "main")
        #expect(try await upstream.run(show, in: "main") == before)
    }

    @Test(
        "what stands in the way of a tracked file is replaced and named",
        arguments: [
            ("mkdir in; echo mine > in/the", "in/the"), ("echo mine > in", "in"),
            ("mkdir -p in/the; ln -s ../../a in/the/way", "in/the/way"),
            ("echo in >> .git/info/exclude; mkdir -p in/the; echo mine > in/the/way", "in/the/way"),
        ])
    func inTheWay(script: String, path: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run(script)
        try await upstream.commit(["in/the/way": "2"])
        #expect(try await upstream.publish().paths == [path])
        #expect(upstream.folder.read("ws/in/the/way") == "2" && upstream.folder.read("ws/a") == "1")
        #expect(try await status(upstream) == "")
    }

    @Test(
        "a broken-off merge, rebase or pick does not keep from publishing",
        arguments: ["merge side", "rebase side", "cherry-pick side"])
    func unfinishedWork(command: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run(
            """
            git checkout -q -b side; echo side > a; git commit -q -am side; git checkout -q -b mine HEAD~
            echo mine > a; git commit -q -am mine; git \(command) >/dev/null 2>&1 || true
            """)
        #expect(try await status(upstream).hasPrefix("UU"))
        let second = try await upstream.commit(["a": "2"])
        #expect(try await upstream.publish().paths.contains("a"))
        #expect(upstream.folder.read("ws/a") == "2")
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == second)
    }

    @Test("local work that was committed stays on its branch, and the history stays whole")
    func localCommits() async throws {
        let upstream = try await Upstream()
        for number in 1...3 { try await upstream.commit(["a": "\(number)"]) }
        try await git("clone -q up ws", in: upstream.folder.path)
        try await upstream.run("echo local > mine; git add mine; git commit -q -m local")
        let workspace = upstream.workspace.path
        let local = try await git("rev-parse HEAD", in: workspace)
        let commit = try await upstream.commit(["a": "4"])
        try await upstream.publish()
        #expect(try await git("rev-parse HEAD main", in: workspace) == "\(commit)\n\(local)")
        #expect(try await git("rev-list --count origin/main", in: workspace) == "3")
        #expect(try await upstream.run("git fsck --connectivity-only 2>&1 | grep -v dangling || true") == "")
    }

    @Test("an older commit is published again as well")
    func older() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1"])
        try await upstream.commit(["a": "2", "b": "2"])
        try await upstream.publish()
        try await git("reset -q --hard \(first)", in: upstream.path)
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "1" && !upstream.folder.exists("ws/b"))
    }

    @Test(
        "a publishing that was broken off is completed by the next one",
        arguments: [
            "echo half > a; rm b; touch .git/index.lock", "rm .git/index; echo 2 > a", "printf cut > .git/index",
            "git symbolic-ref HEAD refs/heads/unborn; touch .git/HEAD.lock",
            "touch .git/shallow.lock .git/packed-refs.lock .git/config.lock",
        ])
    func brokenOff(damage: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "b": "1"])
        try await upstream.publish()
        try await upstream.run("echo u > untracked; touch .git/deploy-agent-at-work; \(damage)")
        let second = try await upstream.commit(["a": "2", "c": "2"])
        let discarded = try await upstream.publish()
        let folder = upstream.folder
        #expect(folder.read("ws/a") == "2" && folder.read("ws/b") == "1" && folder.read("ws/c") == "2")
        #expect(folder.read("ws/untracked") == "u\n")
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == second)
        #expect(try await status(upstream) == "")
        #expect(discarded.locks.count == damage.components(separatedBy: ".lock").count - 1)
    }

    @Test("the repository's own hooks do not run")
    func hooks() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        for hook in ["post-checkout", "reference-transaction", "post-index-change"] {
            let path = try upstream.folder.write(
                "ws/.git/hooks/\(hook)", "#!/bin/sh\ntouch '\(upstream.path)/../ran'\n")
            try #require(chmod(path, 0o755) == 0)
        }
        try await upstream.commit(["a": "2"])
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "2" && !upstream.folder.exists("ran"))
    }
}

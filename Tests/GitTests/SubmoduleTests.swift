import Foundation
import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(2)))
struct SubmoduleTests {
    let upstream: Upstream
    private let options = CommitContent.Options(depth: 1, hasSubmodules: true, hasLFS: false)

    /// The app's repository has `libs/a`, which has `inner/b`.
    init() async throws {
        upstream = try await Upstream()
        try await upstream.run(
            """
            for r in b a; do git init -q -b main ../$r; done
            cd ../b; echo 1 > b; git add -A; git commit -qm b
            cd ../a; echo 1 > a; echo 1 > gone; git add -A; git commit -qm a; \(Self.add) ../b inner/b; git commit -qm b
            cd ../up; echo 1 > app; git add -A; git commit -qm app; \(Self.add) ../a libs/a; git commit -qm a
            """, in: upstream.path)
    }

    private static let add = "git -c protocol.file.allow=always submodule --quiet add"

    /// A further commit of `libs/a`, and one of the app's that has it.
    private static let next = """
        cd ../a; echo 2 > a; git commit -qam 2
        cd ../up/libs/a; git pull -q ../../../a; cd ../..; git add -A; git commit -qm 2
        """

    private var remote: Remote { Remote(url: upstream.path, ref: "main") }

    /// Fetches the branch with all that it needs.
    private func fetch(_ options: CommitContent.Options? = nil) async throws -> (commit: String, CommitContent) {
        try await upstream.store.prepare(upstream.program)
        let tip = try await upstream.program.tip(of: remote, from: upstream.store.path)
        try await upstream.store.fetch(tip, from: remote, upstream.program)
        let content = try await upstream.store.fetchContent(
            of: tip.commit, from: remote, options ?? self.options, upstream.program)
        return (tip.commit, content)
    }

    @discardableResult
    private func publish(isStaged: Bool = false, hook: String = ":") async throws -> Workspace.Discarded {
        let (commit, content) = try await fetch()
        if isStaged {
            try await upstream.store.stage(commit, submodules: content.submodules, content.git)
            try await upstream.run(hook, in: upstream.store.stage)
        }
        return try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: isStaged, origin: remote.url, submodules: content.submodules,
            content.git)
    }

    private func files(_ root: String) async throws -> [String] {
        try await upstream.run("find . -name .git -prune -o -type f -print | sort", in: root).split(separator: "\n")
            .map { String($0.dropFirst(2)) }
    }

    private static let all = [
        ".gitmodules", "app", "libs/a/.gitmodules", "libs/a/a", "libs/a/gone", "libs/a/inner/b/b",
    ]

    @Test("repositories inside a commit's, and inside those, are published with it", arguments: [false, true])
    func published(isStaged: Bool) async throws {
        try await publish(isStaged: isStaged)
        #expect(try await files(upstream.workspace.path) == Self.all)
        // To git all is as the commit has it.
        #expect(try await upstream.run("git status --porcelain", in: upstream.workspace.path).isEmpty)
        // What is no longer tracked goes, what somebody else put there stays.
        try await upstream.run("echo mine > libs/a/mine; echo changed > libs/a/a", in: upstream.workspace.path)
        try await upstream.run(
            "git rm -q gone; echo 2 > a; git add -A; git commit -qm 2; cd ../up/libs/a; git pull -q ../../../a; cd ../..; git add -A; git commit -qm 2",
            in: upstream.folder.path + "/a")
        let discarded = try await publish(isStaged: isStaged)
        #expect(discarded.paths == ["libs/a/a"])
        #expect(
            try await files(upstream.workspace.path)
                == (Self.all + ["libs/a/mine"]).filter { $0 != "libs/a/gone" }.sorted())
        #expect(upstream.folder.read("ws/libs/a/a") == "2\n")
    }

    @Test("what a hook wrote into a staged submodule comes along")
    func output() async throws {
        try await publish(isStaged: true, hook: "echo made > libs/a/made; echo other > libs/a/inner/b/b; cat libs/a/a")
        #expect(upstream.folder.read("ws/libs/a/made") == "made\n")
        #expect(upstream.folder.read("ws/libs/a/inner/b/b") == "other\n")
        try await publish(isStaged: true)
        #expect(
            upstream.folder.read("ws/libs/a/made") == "made\n" && upstream.folder.read("ws/libs/a/inner/b/b") == "1\n")
    }

    @Test("a folder that was there before, without git or with a link that leads nowhere, becomes the submodule's")
    func taken() async throws {
        let (commit, plain) = try await fetch(CommitContent.Options(depth: 1, hasSubmodules: false, hasLFS: false))
        #expect(plain.submodules.isEmpty)
        _ = try await upstream.workspace.publish(
            commit, from: upstream.store, stagedOutput: false, origin: remote.url, plain.git)
        #expect(try await files(upstream.workspace.path) == [".gitmodules", "app"])
        try await upstream.run(
            "echo old > libs/a/a; echo kept > libs/a/kept; echo 'gitdir: /nowhere' > libs/a/.git",
            in: upstream.workspace.path)
        try await publish()
        #expect(upstream.folder.read("ws/libs/a/a") == "1\n" && upstream.folder.read("ws/libs/a/kept") == "kept\n")
    }

    @Test(
        "a submodule that becomes a file makes way for it; its changed files are named, and with untracked ones it is refused",
        arguments: [(":", []), ("echo changed > libs/a/a", ["libs/a"]), ("echo mine > libs/a/mine", nil)]
            as [(String, [String]?)])
    func file(change: String, discarded: [String]?) async throws {
        try await publish()
        try await upstream.run(change, in: upstream.workspace.path)
        try await upstream.run(
            "git rm -q libs/a; mkdir -p libs; echo file > libs/a; git add -A; git commit -qm file", in: upstream.path)
        if let discarded {
            #expect(try await publish().paths == discarded)
            #expect(upstream.folder.read("ws/libs/a") == "file\n")
        } else {
            let error = await gitError { try await publish() }
            #expect(error?.code == .obstructed && error?.explanation.contains("1 untracked file (libs/a/mine)") == true)
            #expect(try await files(upstream.workspace.path) == (Self.all + ["libs/a/mine"]).sorted())
        }
    }

    @Test(
        "what becomes a submodule, or was one, is no discarded change where nobody changed it",
        arguments: [
            (
                "git rm -q libs/a; git commit -qm x; mkdir -p libs/a; echo 2 > libs/a/a; echo 2 > libs/a/new",
                ["libs/a/a", "libs/a/new"]
            ),
            ("git rm -q libs/a; git commit -qm x; mkdir -p libs; ln -s ../app libs/a", ["libs/a"]),
        ])
    func turned(script: String, files: [String]) async throws {
        try await publish()
        try await upstream.run("\(script); git add -A; git commit -qm turned", in: upstream.path)
        let paths = try await publish().paths
        #expect(paths == [])
        for file in files { #expect(kind(of: upstream.workspace.path + "/" + file) != .missing) }
        #expect(
            try await upstream.run("git status --porcelain --untracked-files=no", in: upstream.workspace.path).isEmpty)
        // And back.
        try await upstream.run(
            "git reset -q --hard HEAD~2; git submodule --quiet update --init --force", in: upstream.path)
        let back = try await publish().paths
        #expect(back == [])
        #expect(upstream.folder.read("ws/libs/a/a") == "1\n")
    }

    @Test("one that cannot be checked out puts its parent and those before it back")
    func putBack() async throws {
        try await publish()
        let before = try await upstream.run(
            "git rev-parse HEAD; git -C libs/a rev-parse HEAD", in: upstream.workspace.path)
        try await upstream.run(
            "echo '* filter=broken' >> .git/info/attributes; git config filter.broken.clean cat; git config filter.broken.smudge false; git config filter.broken.required true",
            in: upstream.workspace.path + "/libs/a/inner/b")
        try await upstream.run(
            """
            echo 2 > b; git commit -qam 2
            cd ../a/inner/b; git pull -q; cd ../..; echo 2 > a; git add -A; git commit -qm 2
            cd ../up/libs/a; git pull -q; cd ../..; echo 2 > app; git add -A; git commit -qm 2
            """, in: upstream.folder.path + "/b")
        let error = await gitError { try await publish() }
        #expect(error?.leavesWorkspace == true, "\(error?.explanation ?? "")")
        #expect(
            try await upstream.run(
                "git rev-parse HEAD; git -C libs/a rev-parse HEAD; cat app libs/a/a libs/a/inner/b/b",
                in: upstream.workspace.path)
                == before + "1\n1\n1\n")
        #expect(try await upstream.run("git status --porcelain", in: upstream.workspace.path).isEmpty)
    }

    @Test("a symbolic link in a submodule's place leads nothing out of the workspace")
    func link() async throws {
        try await publish()
        try await upstream.run(
            "mkdir ../outside; rm -rf libs/a; ln -s ../../outside libs/a", in: upstream.workspace.path)
        _ = try? await publish()
        #expect(try FileManager.default.contentsOfDirectory(atPath: upstream.folder.path + "/outside").isEmpty)
    }

    @Test(
        "what a hook put in a submodule's place is not looked into: others' files stay where they are",
        arguments: [false, true])
    func replaced(isRelease: Bool) async throws {
        try await upstream.run("git clone -q b shared; echo data > shared/data", in: upstream.folder.path)
        let hook = "rm -rf libs/a; ln -s \(upstream.folder.path)/shared libs/a"
        if isRelease {
            let releases = Releases(of: upstream.store, workspace: upstream.folder.path + "/link")
            let (commit, content) = try await fetch()
            let release = try await releases.make(commit, submodules: content.submodules, content.git)
            try await upstream.run(hook, in: release.path)
            try await releases.complete(release, content.git)
            try releases.publish(release)
        } else {
            try await publish(isStaged: true, hook: hook)
            #expect(try await files(upstream.workspace.path) == Self.all)
            try await publish(isStaged: true, hook: "rm -rf libs/a")
            #expect(try await files(upstream.workspace.path) == Self.all)
        }
        #expect(
            try await upstream.run("cat shared/data; git -C shared status --porcelain", in: upstream.folder.path)
                == "data\n?? data\n")
    }

    @Test("stores of submodules are closed to other users, and a damaged one is found")
    func stores() async throws {
        let (commit, _) = try await fetch()
        #expect(try await upstream.run("stat -c %a submodules", in: upstream.folder.path + "/state") == "700\n")
        #expect(try await upstream.store.discardDamagedSubmodules(content: true, upstream.program).isEmpty)
        try await upstream.run(
            "for f in $(find submodules/*/repo.git/objects -type f); do chmod u+w $f; : > $f; done",
            in: upstream.folder.path + "/state")
        #expect(try await upstream.store.discardDamagedSubmodules(content: true, upstream.program).count == 1)
        #expect(
            try await upstream.store.fetchContent(of: commit, from: remote, options, upstream.program).submodules.count
                == 1)
    }

    @Test("a release has them too, knows when one was changed, and leaves nothing when it goes")
    func releases() async throws {
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        let (commit, content) = try await fetch()
        let release = try await releases.make(commit, submodules: content.submodules, content.git)
        try await upstream.run("echo made > libs/a/inner/b/b", in: release.path)
        try await releases.complete(release, content.git)
        try releases.publish(release)
        #expect(try await files(upstream.workspace.path) == Self.all)
        #expect(try await files(release.path) == Self.all)
        #expect(await releases.kept(commit, content.git) == release)
        try await upstream.run("echo changed > libs/a/inner/b/b", in: release.path)
        #expect(await releases.kept(commit, content.git) == nil)
        let again = try await releases.make(commit, submodules: content.submodules, content.git)
        try await releases.complete(again, content.git)
        try releases.publish(again)
        try releases.prune(keep: 0, grace: .zero)
        let left = try await upstream.run(
            "find . -path '*/worktrees/*' -prune -print", in: upstream.folder.path + "/state")
        #expect(left.split(separator: "\n").count == 3 && !left.contains(release.name + "\n"), "\(left)")
    }

    @Test("what a hook configures with git in a repository inside its staged checkout ends with it")
    func configured() async throws {
        let command = "git config core.autocrlf true"
        try await publish(isStaged: true, hook: "cd libs/a; \(command); cd inner/b; \(command)")
        try await upstream.run(Self.next, in: upstream.path)
        try await publish(isStaged: true)
        #expect(try await upstream.run("cat libs/a/a; wc -c < libs/a/a") == "2\n2\n")
        #expect(try await upstream.run("grep -rl autocrlf . || true", in: "state") == "")
    }

    @Test("what a release borrows of the repositories inside it stays there until it is removed")
    func borrowed() async throws {
        let (commit, content) = try await fetch()
        let releases = Releases(of: upstream.store, workspace: upstream.workspace.path)
        let release = try await releases.make(commit, submodules: content.submodules, content.git)
        try await releases.complete(release, content.git)
        try await upstream.run(Self.next, in: upstream.path)
        let next = try await fetch().commit
        try await upstream.store.keep(next, and: [], content.git)
        try await upstream.store.tidyContent(of: [next], content.git)
        for store in [upstream.store, upstream.store.submodule("libs/a")] {
            try await Housekeeping(folder: store.path, git: content.git).run()
        }
        for folder in ["", "/libs/a", "/libs/a/inner/b"] {
            #expect(try await git("fsck --full", in: release.path + folder).contains("missing") == false)
            #expect(try await git("status --porcelain", in: release.path + folder) == "")
        }
    }

    @Test("without a network nothing is asked for what is there; what nobody needs any more is removed")
    func kept() async throws {
        let first = try await fetch().commit
        try await upstream.run("mv ../a ../a-away; mv ../b ../b-away", in: upstream.path)
        #expect(try await fetch().1.submodules.count == 1)
        try await upstream.store.tidyContent(of: [first], upstream.program)
        #expect(try await fetch().1.submodules.first?.path == "libs/a")
        // A commit without any.
        try await upstream.run("git rm -q libs/a; git commit -qm gone", in: upstream.path)
        let second = try await fetch()
        #expect(second.1.submodules.isEmpty)
        try await upstream.store.tidyContent(of: [second.commit], upstream.program)
        let left = try FileManager.default.contentsOfDirectory(atPath: upstream.folder.path + "/state/submodules")
        #expect(left.isEmpty)
    }

    @Test("the way back to an earlier commit needs no network")
    func back() async throws {
        let first = try await fetch().commit
        try await upstream.store.keep(first, and: [], upstream.program)
        try await upstream.run(
            "echo 2 > a; git commit -qam 2; cd ../up/libs/a; git pull -q ../../../a; cd ../..; git add -A; git commit -qm 2",
            in: upstream.folder.path + "/a")
        let second = try await fetch().commit
        try await upstream.store.tidyContent(of: [first, second], upstream.program)
        try await upstream.run(
            "mv ../a ../a-away; mv ../b ../b-away; mv ../up ../up-away", in: upstream.folder.path + "/a")
        for (commit, expected) in [(first, "1\n"), (second, "2\n"), (first, "1\n")] {
            let content = try await upstream.store.fetchContent(of: commit, from: remote, options, upstream.program)
            _ = try await upstream.workspace.publish(
                commit, from: upstream.store, stagedOutput: false, origin: remote.url, submodules: content.submodules,
                content.git)
            #expect(upstream.folder.read("ws/libs/a/a") == expected)
        }
    }

    @Test("a path that leads out of the checkout names no store, and is checked out by nobody")
    func paths() async throws {
        let tree = try await upstream.run(
            """
            blob=$(git rev-parse HEAD:.gitmodules | head -1)
            printf '160000 commit %s\t..\n100644 blob %s\t.gitmodules\n' $(git -C ../b rev-parse HEAD) \
                $(printf '[submodule "x"]\n\tpath = ..\n\turl = ../b\n' | git hash-object -w --stdin) | git mktree --missing
            """, in: upstream.path)
        try await upstream.run(
            "git reset -q --hard $(git commit-tree -m hostile \(tree.split(separator: "\n").last ?? "")) || git update-ref HEAD $(git commit-tree -m hostile \(tree.split(separator: "\n").last ?? ""))",
            in: upstream.path)
        let content = try await fetch().1
        #expect(content.submodules.isEmpty)
    }

    @Test("one that cannot be had is an error that names its repository; one without URL is left and said")
    func missing() async throws {
        try await upstream.run("mv ../a ../away", in: upstream.path)
        let error = await gitError { _ = try await fetch() }
        #expect(error?.code == .unreachable && error?.description.contains("/a") == true)
        try await upstream.run(
            "git rm -q --cached .gitmodules; echo > .gitmodules; git add -A; git commit -qm none", in: upstream.path)
        let content = try await fetch().1
        #expect(content.submodules.isEmpty && content.warnings.first?.contains("libs/a") == true)
    }

    @Test(
        "URLs of submodules are resolved as git does",
        arguments: [
            ("../lib.git", "https://host/group/app.git", "https://host/group/lib.git"),
            ("../../other/lib", "https://host/group/app/", "https://host/other/lib"),
            ("./inner", "https://me:pw@host/app", "https://host/app/inner"),
            ("../lib", "git@host:group/app", "git@host:group/lib"),
            ("../lib", "git@host:app", "git@host:lib"), ("../lib", "/srv/app", "/srv/lib"),
            ("https://me:pw@other/lib", "https://host/app", "https://other/lib"),
            ("ssh://git@other/lib", "https://host/app", "ssh://git@other/lib"),
            ("../lib", "ssh://git@host:22/app", "ssh://git@host:22/lib"),
            ("git@other:lib", "https://host/app", "git@other:lib"), ("/srv/lib", "/srv/app", "/srv/lib"),
            ("file:///srv/lib", "file:///srv/app", "file:///srv/lib"),
        ])
    func urls(url: String, parent: String, expected: String) throws {
        #expect(try Remote(submodule: url, of: Remote(url: parent, ref: nil), "x").url == expected)
    }

    @Test(
        "a commit reaches no file and no program of this machine by a submodule's URL",
        arguments: ["/etc", "file:///etc", "ext::sh -c id", "-u", "--upload-pack=x", "fd::0", "x::y", "C:x::y"])
    func refused(url: String) {
        #expect(throws: GitError.self) {
            try Remote(submodule: url, of: Remote(url: "https://host/app", ref: nil), "x")
        }
    }
}

import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// What keeps a commit from being published as a whole is found before the first file moves.
@Suite(.timeLimit(.minutes(2)))
struct ObstacleTests {
    @Test(
        "a folder with files of other people does not make way for a link or a file: the commit is refused with their number and names",
        arguments: [
            (
                "rm -r uploads; ln -s /srv/shared uploads",
                "mkdir uploads/2026; for i in 1 2 3 4; do echo photo > uploads/2026/$i.jpg; done", "symbolic link"
            ),
            ("rm -r uploads; echo x > uploads", "for i in 1 2 3 4; do echo photo > uploads/$i; done", "file"),
            // Ignored ones, and a repository of somebody's.
            (
                "rm -r uploads; echo x > uploads",
                "echo '*' > .git/info/exclude; for i in 1 2 3 4; do echo x > uploads/$i.log; done", "file"
            ),
            (
                "rm -r uploads; mkdir uploads; echo x > uploads/deep",
                "mkdir -p uploads/deep/er; for i in 1 2 3 4; do echo x > uploads/deep/er/$i; done", "file"
            ),
            (
                "rm -r uploads; echo x > uploads", "for i in 1 2 3 4; do echo x > uploads/$i; git add uploads/$i; done",
                "file"
            ),
        ])
    func folder(change: String, files: String, what: String) async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(script: "mkdir uploads; touch uploads/.gitkeep; echo 1 > a")
        try await upstream.publish()
        try await upstream.run(files)
        let second = try await upstream.commit(script: "\(change); echo 2 > a")
        let before = try await upstream.run("find . -type f -not -path './.git/*' | sort; cat a")
        for isStaged in [false, true] {
            let error = await gitError { try await upstream.publish(afterStage: isStaged ? ":" : nil) }
            #expect(error?.code == .obstructed && error?.leavesWorkspace == true)
            let text = error?.explanation ?? ""
            #expect(
                text.contains("is a \(what) in the commit") && text.contains("4 untracked files (uploads/"), "\(text)")
            #expect(text.contains(", …)") && text.contains("mv '"), "\(text)")
        }
        #expect(try await upstream.run("find . -type f -not -path './.git/*' | sort; cat a") == before)
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == first)
        // As the message says.
        try await upstream.run("mv uploads ../ws-uploads")
        #expect(try await upstream.publish().paths.allSatisfy { $0.hasPrefix("uploads") })
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == second)
    }

    @Test("it is found by looking, without the commit in the workspace")
    func looking() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(script: "mkdir uploads; touch uploads/.gitkeep")
        try await upstream.publish()
        try await upstream.run("echo photo > uploads/mine; git rev-parse HEAD")
        let second = try await upstream.commit(script: "rm -r uploads; ln -s /srv uploads")
        try await upstream.fetch()
        let error = await gitError { try await upstream.workspace.expectRoom(for: second, from: upstream.store) }
        #expect(error?.code == .obstructed && error?.explanation.contains("1 untracked file (uploads/mine)") == true)
        try await upstream.run("rm uploads/mine")
        try await upstream.workspace.expectRoom(for: second, from: upstream.store)
        #expect(try await !shell("git cat-file -e \(second)", in: upstream.workspace.path).verdict.isSuccess)
    }

    @Test(
        "what nobody has changed is no discarded change, whatever becomes of it",
        arguments: [
            "rm conf; mkdir conf; echo 2 > conf/main", "rm -r d; echo 2 > d", "rm -r d; ln -s conf d",
            "rm link; mkdir link; echo 2 > link/a",
            "rm link; echo 2 > link", "rm conf; ln -s d conf", "rm -r d; mkdir d; mkdir d/a; echo 2 > d/a/b",
        ])
    func turned(change: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(script: "echo 1 > conf; mkdir d; echo 1 > d/a; echo 1 > d/b; ln -s d link")
        try await upstream.publish()
        try await upstream.commit(script: change)
        #expect(try await upstream.publish().paths == [])
        #expect(try await git("status --porcelain", in: upstream.workspace.path) == "")
        try await git("reset -q --hard HEAD~", in: upstream.path)
        #expect(try await upstream.publish().paths == [])
        #expect(try await git("status --porcelain", in: upstream.workspace.path) == "")
    }

    @Test(
        "a file that git calls changed although it is as it was checked out is not named, one that somebody changed is")
    func lineEnds() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(script: "printf 'a\\r\\n' > p.csproj; printf 'a\\r\\n' > q.csproj")
        try await upstream.run(
            "echo '*.csproj text eol=crlf' > .gitattributes; git add .gitattributes; git commit -qm c", in: "up")
        for number in 1...3 {
            try await upstream.run("echo \(number) > b; git add b; git commit -qm c", in: "up")
            #expect(try await upstream.publish(afterStage: ":").paths == [])
        }
        try await upstream.run("printf 'b\\r\\n' > q.csproj")
        try await upstream.run("echo 4 > b; git add b; git commit -qm c", in: "up")
        #expect(try await upstream.publish(afterStage: ":").paths == ["q.csproj"])
    }

    @Test("what a hook made of a tracked file is not called somebody's change at the next commit")
    func ownOutput() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "config": "template"])
        try await upstream.publish(afterStage: "echo made > config")
        try await upstream.commit(["a": "2"])
        #expect(try await upstream.publish(afterStage: "echo made > config").paths == [])
        try await upstream.run("echo mine > config")
        try await upstream.commit(["a": "3"])
        #expect(try await upstream.publish(afterStage: "echo made > config").paths == ["config"])
    }

    @Test("a commit that needs more room than there is, beside what it replaces, is refused with both figures")
    func space() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        var disk = statvfs()
        #expect(statvfs(upstream.folder.path, &disk) == 0)
        let free = Int(disk.f_bfree) * Int(disk.f_frsize)
        // A sparse file of that size costs nothing, and git would take minutes to hash it: the tree says so all the same.
        let changes = [CommitDifference.Change(path: FileName("big"), isWritten: true, isLink: false, size: 2 * free)]
        var obstacles = try PublishObstacles(upstream.workspace.path, index: nil, commit: "0")
        try obstacles.look(at: CommitDifference(changes: changes)) { _ in nil }
        let error = await gitError { try obstacles.expectNone() }
        #expect(
            error?.explanation.contains("the commit writes") == true && error?.explanation.contains("are free") == true)
    }

    @Test("paths with spaces and backslashes are read from the list of mounts")
    func mounts() {
        #expect(MountPoints.below("/").contains(FileName("proc")))
        #expect(MountPoints.below("/nowhere").isEmpty)
        #expect(!MountPoints.below("/pro").contains(FileName("c")))
    }
}

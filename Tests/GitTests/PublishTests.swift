import Foundation
import Git
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1)))
struct PublishTests {
    @Test("tracked files are set to the commit, other untracked files stay, what is lost is named")
    func inPlace() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "gone": "x", "d/e": "y"])
        try await upstream.publish()
        let folder = upstream.folder
        try folder.write("ws/a", "changed here")
        try folder.write("ws/upload", "kept")
        try folder.write("ws/arriving", "in the way")
        try folder.write("ws/becomes", "a file")
        try await upstream.commit(["a": "2", "gone": nil, "arriving": "new", "becomes/folder": "z"])
        let discarded = try await upstream.publish()
        #expect(folder.read("ws/a") == "2" && folder.read("ws/upload") == "kept" && !folder.exists("ws/gone"))
        #expect(folder.read("ws/arriving") == "new" && folder.read("ws/becomes/folder") == "z")
        #expect(Set(discarded.paths) == ["a", "arriving", "becomes"])
    }

    @Test("no mark in the index keeps a tracked file from being set", arguments: ["skip-worktree", "assume-unchanged"])
    func marked(flag: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await git("update-index --\(flag) a", in: upstream.folder.path + "/ws")
        try upstream.folder.write("ws/a", "changed here")
        try await upstream.commit(["a": "2"])
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "2")
    }

    @Test(
        "a mark in the index is found whatever the file's name", arguments: ["skip-worktree", "assume-unchanged"],
        ["a\\377", "new\\nline", "-dash", "caf\\303\\251", "with \\042quotes\\042"])
    func markedOddName(flag: String, name: String) async throws {
        let upstream = try await Upstream()
        let assign = "name=$(printf -- '\(name)'); "
        try await upstream.commit(script: assign + "echo 1 > \"./$name\"")
        try await upstream.publish()
        try await upstream.run(assign + "git update-index --\(flag) -- \"$name\"; echo local > \"./$name\"")
        try await upstream.commit(["other": "2"])
        try await upstream.publish()
        #expect(try await upstream.run(assign + "cat \"./$name\"") == "1\n")
    }

    @Test("what the hook wrote comes along, ignored, odd and empty things too, and removes nothing else")
    func stagedOutput() async throws {
        let upstream = try await Upstream()
        try await upstream.commit([".gitignore": "out/\n", "a": "1", "b": "1"])
        try await upstream.publish()
        let folder = upstream.folder
        try folder.write("ws/out/old", "kept")
        let hook = """
            mkdir -p out/empty read; echo new > out/new; ln -s new out/link; echo 2 > b; rm a; printf x > "$(printf 'odd\\351')"
            echo r > read/only; chmod 555 read; chmod 711 out/new; git add -A; git commit -qm own; rm .git
            """
        try await upstream.publish(afterStage: hook)
        #expect(folder.read("ws/out/new") == "new\n" && folder.read("ws/out/old") == "kept")
        #expect(folder.exists("ws/out/empty") && folder.read("ws/read/only") == "r\n")
        #expect(folder.read("ws/a") == "1" && folder.read("ws/b") == "2\n")
        let check = try await shell(
            "ls -b; readlink out/link; stat -c %a out/new read; git rev-parse HEAD", in: folder.path + "/ws")
        #expect(check.output.contains("odd\\351") && check.output.contains("new\n711\n555\n"))
        #expect(check.output.hasSuffix(try await git("rev-parse main", in: upstream.path) + "\n"))
        try await shell("chmod -R u+w .", in: folder.path + "/ws")
    }

    @Test("what cannot be published whole is not published by half")
    func conflict() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try upstream.folder.write("ws/gen/keep", "x")
        try await upstream.commit(["a": "2"])
        await #expect(throws: GitError.self) { try await upstream.publish(afterStage: "echo > gen") }
        #expect(try await git("rev-parse HEAD", in: upstream.folder.path + "/ws") == first)
        #expect(upstream.folder.read("ws/a") == "1" && upstream.folder.read("ws/gen/keep") == "x")
    }

    @Test("when publishing has ended, what was published is on the disk")
    func durable() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(script: "head -c 1000000 /dev/zero > tracked")
        // Where the file system shows which files wait for their place on the disk: one written just now does.
        let waiting = "PATH=$PATH:/usr/sbin:/sbin filefrag -v tracked made 2>&1 | grep delalloc || true"
        try await upstream.run("for name in tracked made; do head -c 1000000 /dev/zero > $name; done", in: "state")
        let isShown = try await !upstream.run(waiting, in: "state").isEmpty
        try await upstream.publish(afterStage: "head -c 1000000 /dev/zero > made")
        if isShown { #expect(try await upstream.run(waiting) == "") }
    }

    @Test("a full clone keeps its branches and their history")
    func fullClone() async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1"])
        let second = try await upstream.commit(["a": "2"])
        try await git("clone -q up ws", in: upstream.folder.path)
        try await upstream.commit(["a": "3"])
        try await upstream.publish()
        let workspace = upstream.folder.path + "/ws"
        #expect(
            try await git("rev-list main", in: workspace).split(separator: "\n").map(String.init) == [second, first])
        #expect(upstream.folder.read("ws/a") == "3")
    }

    @Test("locks that are so old that nobody can have them any more are removed")
    func locks() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.commit(["a": "2"])
        for name in ["index.lock", "HEAD.lock", "shallow.lock", "refs/heads/x.lock"] {
            try await shell("touch -d '1 hour ago' .git/\(name)", in: upstream.folder.path + "/ws")
        }
        let discarded = try await upstream.publish()
        #expect(discarded.locks.count == 4 && upstream.folder.read("ws/a") == "2")
    }

    @Test(
        "a folder that is no checkout is never touched",
        arguments: [
            ("mkdir ws; echo x > ws/file", "not empty"), ("echo x > ws", "is a file"),
            ("git init -q --bare ws", "bare"),
            ("ln -s nowhere ws", "link"),
        ])
    func foreign(preparation: String, word: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await shell(preparation, in: upstream.folder.path)
        let before = try await shell("ls -laR ws", in: upstream.folder.path).output
        guard case .foreign(let what) = try await upstream.workspace.state() else {
            Issue.record("it is taken for a workspace")
            return
        }
        #expect(what.contains(word))
        await #expect(throws: GitError.self) { try await upstream.publish() }
        #expect(try await shell("ls -laR ws", in: upstream.folder.path).output == before)
    }

    @Test(
        "a broken-off first publish is completed by the next one",
        arguments: ["mkdir -p ws/.git/refs", "git init -q ws"])
    func resumed(remains: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await shell(remains, in: upstream.folder.path)
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "1")
    }

    @Test(
        "folders and files of a commit are found through its links, and nothing outside it",
        arguments: [
            (".", FolderLookup.folder), ("d", .folder), ("d/e", .folder), ("link", .folder), ("link/e", .folder),
            ("file", .notAFolder),
            ("none", .missing), ("out", .escapes), ("up", .escapes), ("absolute", .escapes), ("loop", .escapes),
            ("d/../..", .escapes),
        ])
    func folders(path: String, expected: FolderLookup) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["d/e/f": "x", "file": "content"])
        let links = [
            ("d", "link"), ("../x", "out"), ("d/../../y", "up"), ("/etc", "absolute"), ("loop", "loop"),
            ("file", "alias"),
        ]
        for (target, name) in links { try await shell("ln -s \(target) \(name)", in: upstream.path) }
        let commit = try await upstream.commit()
        let repository = Repository(path: upstream.path)
        #expect(try await repository.folder(path, in: commit) == expected)
        #expect(
            try await repository.file("alias", in: commit, limit: 100).map { String(decoding: $0, as: UTF8.self) }
                == "content")
        #expect(try await repository.file("d", in: commit, limit: 100) == nil)
        await #expect(throws: GitError.self) { try await repository.file("file", in: commit, limit: 3) }
    }
}

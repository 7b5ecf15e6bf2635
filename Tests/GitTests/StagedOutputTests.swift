import Foundation
import TestSupport
import Testing

@testable import Git

/// What PRE_DEPLOY wrote in the staged checkout comes along.
@Suite(.timeLimit(.minutes(1)))
struct StagedOutputTests {
    /// Where stages lie: on the workspace's file system, and on another where there is one.
    enum Place: CaseIterable, CustomTestStringConvertible {
        case beside, elsewhere

        var testDescription: String { self == .beside ? "same file system" : "another file system" }

        static var available: [Place] {
            func device(_ path: String) -> UInt64? {
                var info = stat()
                return stat(path, &info) == 0 ? UInt64(info.st_dev) : nil
            }
            let other = device("/dev/shm")
            return other != nil && other != device(FileManager.default.temporaryDirectory.path) ? allCases : [.beside]
        }
    }

    /// Runs a test with an upstream whose stages lie in a place.
    private func with(_ place: Place, _ body: (Upstream) async throws -> Void) async throws {
        guard place == .elsewhere else { return try await body(try await Upstream()) }
        let path = "/dev/shm/agent-test-\(uniqueText())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await body(try await Upstream(storeFolder: path))
    }

    @Test("modes, times, links and odd names come along as they are", arguments: Place.available)
    func kinds(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(script: "echo 1 > tracked; echo 'ignored/' > .gitignore; mkdir d; echo 1 > d/a")
            let discarded = try await upstream.publish(
                afterStage: """
                    mkdir -p ignored/deep; echo i > ignored/deep/i; chmod 751 ignored/deep; echo new > d/new
                    printf x > tool; chmod 4711 tool; ln -s tool link; ln -s nowhere dangling; mkdir empty; chmod 700 empty
                    touch -d 2001-02-03T04:05:06Z old; ln tool hard; echo 'ü' > 'odd "näme"'; chmod +x tracked
                    """)
            #expect(discarded.paths.isEmpty)
            #expect(upstream.folder.read("ws/ignored/deep/i") == "i\n" && upstream.folder.read("ws/d/new") == "new\n")
            #expect(upstream.folder.read("ws/odd \"näme\"") == "ü\n")
            #expect(
                try await upstream.run(
                    "stat -c %a tool ignored/deep empty; readlink link dangling; stat -c %Y old; cat hard; test -x tracked"
                )
                    == "4711\n751\n700\ntool\nnowhere\n981173106\nx")
        }
    }

    @Test(
        "nothing else in the workspace is touched, and what the hook deleted removes nothing",
        arguments: Place.available)
    func rest(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1", "b": "1"])
            try await upstream.publish(afterStage: "mkdir build; echo 1 > build/one; echo 1 > build/two")
            try await upstream.run("echo u > untracked; echo u > build/own")
            try await upstream.commit(["a": "2"])
            try await upstream.publish(afterStage: "mkdir build; echo 2 > build/one; rm b")
            #expect(try await upstream.run("cat build/one build/two build/own untracked a b") == "2\n1\nu\nu\n21")
        }
    }

    @Test(
        "what the hook committed, stashed or checked out comes along as it is on disk",
        arguments: [
            "echo x > made; git add made; git commit -q -m x",
            "echo x > made; git stash -q --include-untracked; git stash pop -q",
            "git checkout -q -b own; echo x > made; git add made; git commit -q -m x",
        ])
    func gitInHook(hook: String) async throws {
        let upstream = try await Upstream()
        let commit = try await upstream.commit(["a": "1"])
        try await upstream.publish(afterStage: hook)
        #expect(upstream.folder.read("ws/made") == "x\n" && upstream.folder.read("ws/a") == "1")
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == commit)
        #expect(try await upstream.run("git fsck 2>&1 | grep -v dangling || true") == "")
    }

    @Test("a changed file with the tracked one's time and size comes along")
    func sameSize() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish(afterStage: "touch -r a ref; printf 2 > a; touch -r ref a; rm ref")
        #expect(upstream.folder.read("ws/a") == "2")
    }

    @Test("the next commit's tracked file replaces what a hook had written there")
    func replacedNextTime() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish(afterStage: "echo hook > a; echo hook > b")
        try await upstream.commit(["b": "2"])
        try await upstream.publish(afterStage: "true")
        #expect(upstream.folder.read("ws/a") == "1" && upstream.folder.read("ws/b") == "2")
        #expect(try await git("status --porcelain", in: upstream.workspace.path) == "")
    }

    @Test("a written folder replaces a file at its path, and the file is named", arguments: Place.available)
    func folderOverFile(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1"])
            try await upstream.publish()
            try await upstream.run("echo file > build")
            try await upstream.commit(["a": "2"])
            let discarded = try await upstream.publish(afterStage: "mkdir build; echo x > build/x")
            #expect(upstream.folder.read("ws/build/x") == "x\n" && discarded.paths == ["build"])
        }
    }

    @Test(
        "a written file or link does not replace a folder; the error names it",
        arguments: ["echo x > build", "ln -s a build"])
    func fileOverFolder(hook: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish(afterStage: "mkdir build; echo x > build/x")
        try await upstream.commit(["a": "2"])
        let error = await gitError { try await upstream.publish(afterStage: hook) }
        #expect(error?.code == .publish && error?.description.contains("build") == true)
        #expect(upstream.folder.read("ws/build/x") == "x\n" && upstream.folder.read("ws/a") == "1")
    }

    @Test("a symbolic link at a written file's path is replaced, not followed", arguments: Place.available)
    func linkReplaced(place: Place) async throws {
        try await with(place) { upstream in
            let outside = try upstream.folder.write("outside", "precious")
            try await upstream.commit(["a": "1"])
            try await upstream.publish(afterStage: "ln -s '\(outside)' config")
            try await upstream.commit(["a": "2"])
            try await upstream.publish(afterStage: "echo new > config")
            #expect(upstream.folder.read("outside") == "precious" && upstream.folder.read("ws/config") == "new\n")
        }
    }

    @Test(
        "a folder replaces a symbolic link that the commit tracks; the link is not followed", arguments: Place.available
    )
    func trackedLinkReplaced(place: Place) async throws {
        try await with(place) { upstream in
            try upstream.folder.write("shared/app.conf", "precious")
            try await upstream.commit(script: "ln -s ../shared cfg; ln -s ../shared empty")
            try await upstream.publish()
            try await upstream.commit(["a": "2"])
            try await upstream.publish(
                afterStage: "rm cfg empty; mkdir cfg empty; echo new > cfg/app.conf; echo new > cfg/more")
            #expect(upstream.folder.read("shared/app.conf") == "precious" && !upstream.folder.exists("shared/more"))
            #expect(
                try await upstream.run("cat cfg/app.conf cfg/more; stat -c %F cfg empty")
                    == "new\nnew\ndirectory\ndirectory\n")
        }
    }

    @Test("an untracked symbolic link to a folder is followed, and stays", arguments: Place.available)
    func untrackedLinkFollowed(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1"])
            try await upstream.publish()
            try await upstream.run("mkdir ../shared; ln -s ../shared uploads")
            try await upstream.commit(["a": "2"])
            try await upstream.publish(afterStage: "mkdir -p uploads/deep; echo new > uploads/deep/file")
            #expect(upstream.folder.read("shared/deep/file") == "new\n")
            #expect(try await upstream.run("readlink uploads") == "../shared\n")
        }
    }

    @Test(
        "a file or link in the place of the commit's folder is refused before anything has moved",
        arguments: ["rm -r vendor; ln -s a vendor", "rm -r vendor; echo x > vendor", "rm -r deep/er; echo x > deep/er"])
    func fileOverTrackedFolder(hook: String) async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "vendor/lib": "1", "deep/er/file": "1"])
        let error = await gitError { try await upstream.publish(afterStage: hook) }
        #expect(error?.code == .publish && error?.description.contains("folder") == true)
        #expect(try await upstream.run("ls; git rev-parse -q --verify HEAD || echo unborn") == "unborn\n")
    }

    @Test("a file takes the place of a folder that the commit removes", arguments: Place.available)
    func fileOverRemovedFolder(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1", "vendor/lib": "1", "vendor/deep/er": "1"])
            try await upstream.publish()
            try await upstream.commit(["vendor": nil])
            try await upstream.publish(afterStage: "echo file > vendor")
            #expect(upstream.folder.read("ws/vendor") == "file\n")
        }
    }

    @Test(
        "a folder that the commit removes but that holds something untracked stays, and the file is refused",
        arguments: [
            "echo u > vendor/untracked", "mkdir vendor/empty",
            "echo '*.log' > .git/info/exclude; echo u > vendor/x.log",
        ])
    func fileOverFolderThatStays(script: String) async throws {
        let upstream = try await Upstream()
        let first = try await upstream.commit(["a": "1", "vendor/lib": "1"])
        try await upstream.publish()
        try await upstream.run(script)
        try await upstream.commit(["vendor": nil])
        let error = await gitError { try await upstream.publish(afterStage: "echo file > vendor") }
        #expect(error?.code == .publish && error?.description.contains("vendor") == true)
        #expect(try await git("rev-parse HEAD", in: upstream.workspace.path) == first)
        #expect(upstream.folder.read("ws/vendor/lib") == "1")
    }

    @Test("names that differ in bytes only are different files", arguments: Place.available)
    func bytesOfNames(place: Place) async throws {
        try await with(place) { upstream in
            // One letter composed and decomposed; two bytes that are no UTF-8.
            try await upstream.commit(
                script: "echo tracked > \"$(printf 'caf\\303\\251')\"; echo tracked > \"$(printf 'a\\377')\"")
            try await upstream.publish(
                afterStage: "echo new > \"$(printf 'cafe\\314\\201')\"; echo new > \"$(printf 'a\\376')\"")
            #expect(
                try await upstream.run(
                    "cat \"$(printf 'caf\\303\\251')\" \"$(printf 'a\\377')\" \"$(printf 'cafe\\314\\201')\" \"$(printf 'a\\376')\""
                )
                    == "tracked\ntracked\nnew\nnew\n")
        }
    }

    @Test("new folders come along with owner, group and mode", .enabled(if: getuid() == 0), arguments: Place.available)
    func owners(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1"])
            try await upstream.publish(
                afterStage: """
                    mkdir -p var/inner; echo x > var/inner/x; chmod 2750 var; chmod 555 var/inner; chown -R 1000:1001 var
                    chmod 2750 var
                    """)
            #expect(
                try await upstream.run("stat -c '%u:%g %a' var var/inner var/inner/x")
                    == "1000:1001 2750\n1000:1001 555\n1000:1001 644\n")
        }
    }

    @Test(
        "folders whose mode shuts even their owner out come along", arguments: Place.available,
        ["444", "000", "555", "333"])
    func shutFolders(place: Place, mode: String) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1"])
            try await upstream.publish(
                afterStage: "mkdir -p shut/in; echo x > shut/in/f; chmod \(mode) shut/in; chmod \(mode) shut")
            #expect(
                try await upstream.run(
                    "stat -c %a shut; chmod 700 shut; stat -c %a shut/in; chmod 700 shut/in; cat shut/in/f")
                    == "\(Int(mode) ?? 0)\n\(Int(mode) ?? 0)\nx\n")
        }
    }

    @Test(
        "what a crash left half made keeps from nothing, and goes with the next move",
        arguments: Place.available, ["touch .deploy-agent-new", "mkdir .deploy-agent-new"])
    func halfMade(place: Place, remains: String) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1"])
            try await upstream.publish()
            try await upstream.run(remains)
            try await upstream.commit(["a": "2"])
            try await upstream.publish(afterStage: "mkdir -p d/e; echo x > d/x; echo x > made; ln -s made link")
            #expect(try await upstream.run("cat d/x made link; ls -d d/e") == "x\nx\nx\nd/e\n")
            if place == .elsewhere { #expect(!upstream.folder.exists("ws/.deploy-agent-new")) }
        }
    }

    @Test("a new folder arrives in one step where that can be: by a rename of the whole")
    func wholeFolder() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "d/tracked": "1"])
        try await upstream.publish(
            afterStage: """
                mkdir -p var/inner d/made submodule; echo x > var/inner/x; echo x > d/made/x
                echo 'gitdir: elsewhere' > submodule/.git; echo x > submodule/x; stat -c %i var d/made > inodes
                """)
        let inodes = upstream.folder.read("ws/inodes")
        #expect(try await upstream.run("stat -c %i var d/made") == inodes)
        #expect(try await upstream.run("cat var/inner/x d/made/x; ls -A submodule") == "x\nx\nx\n")
    }

    @Test("output whose move was broken off half-way is complete after the next one", arguments: Place.available)
    func repeated(place: Place) async throws {
        try await with(place) { upstream in
            try await upstream.commit(["a": "1"])
            let commit = try await upstream.fetch().commit
            try await upstream.store.stage(commit, upstream.program)
            try await upstream.run("for i in 1 2 3; do echo $i > made$i; done", in: upstream.store.stage)
            func publish() async throws {
                _ = try await upstream.workspace.publish(
                    commit, from: upstream.store, stagedOutput: true, origin: "x", upstream.program)
            }
            try await publish()
            // As if only this one had not been moved yet.
            try await upstream.run("mv made2 '\(upstream.store.stage)/'")
            try await publish()
            #expect(try await upstream.run("cat made1 made2 made3") == "1\n2\n3\n")
        }
    }
}

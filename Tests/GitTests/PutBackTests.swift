import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// A publishing that fails in the middle leaves the commit that was live, as a whole.
@Suite(.timeLimit(.minutes(2)))
struct PutBackTests {
    /// A workspace where git cannot write `zz` of the next commit, which it comes to last.
    private func broken(_ script: String) async throws -> Upstream {
        let upstream = try await Upstream()
        try await upstream.commit(
            script:
                "echo 1 > a; echo 1 > gone; echo 1 > conf; mkdir d; echo 1 > d/x; ln -s a link; echo t > config; echo 1 > zz; \(script)"
        )
        try await upstream.publish(afterStage: "echo made > config; echo made > out; chmod 640 config")
        try await upstream.run(
            "echo 'zz filter=broken' > .git/info/attributes; git config filter.broken.clean cat; git config filter.broken.smudge false; git config filter.broken.required true; chmod 2751 d; chown nobody d 2>/dev/null || true"
        )
        return upstream
    }

    private static let look = """
        find . -path ./.git -prune -o -type f -printf '%p %m %i %T@\\n' -o -type l -printf '%p %l\\n' -o -type d -printf '%p %m %u %g\\n' | sort
        git rev-parse HEAD; git ls-files --stage; cat a conf config out
        """

    @Test(
        "files, links, folders, what PRE_DEPLOY had made, index and HEAD are as they were",
        arguments: [
            "echo 2 > a; rm gone; echo 2 > new", "rm conf; mkdir conf; echo 2 > conf/main", "rm -r d; echo 2 > d",
            "rm -r d; ln -s a d",
            "rm link; mkdir link; echo 2 > link/deep", "mkdir -p made/deep; echo 2 > made/deep/a",
            "echo 2 > untracked; echo 2 > config",
            "echo 2 > empty/keep",
        ])
    func restored(change: String) async throws {
        let upstream = try await broken("mkdir empty; touch empty/.k")
        try await upstream.run("echo mine > untracked; mkdir -p empty/inside")
        let before = try await upstream.run(Self.look)
        try await upstream.commit(script: "\(change); echo 2 > zz")
        for isStaged in [false, true] {
            let error = await gitError {
                try await upstream.publish(afterStage: isStaged ? "echo new > out; echo new > config" : nil)
            }
            #expect(error?.code == .publish && error?.leavesWorkspace == true)
            let text = error?.explanation ?? ""
            #expect(text.contains("zz") && text.contains("the workspace is back at"), "\(text)")
            #expect(try await upstream.run(Self.look) == before)
            #expect(!upstream.folder.exists("ws/.git/agent-replaced"))
        }
        // Once it can be written, all of it comes.
        try await upstream.run("rm .git/info/attributes")
        try await upstream.publish(afterStage: "echo new > out")
        #expect(upstream.folder.read("ws/zz") == "2\n" && upstream.folder.read("ws/out") == "new\n")
        #expect(!upstream.folder.exists("ws/.git/agent-replaced"))
    }

    @Test("what lies behind a link in a folder's place is nobody's to take away", arguments: ["v1", "../outside"])
    func behindLink(target: String) async throws {
        let upstream = try await Upstream()
        try await upstream.run("mkdir -p outside/lib; echo mine > outside/lib/c", in: "up/..")
        try await upstream.commit(script: "mkdir -p v1/lib; echo 1 > v1/lib/c; ln -s \(target) link; echo 1 > zz")
        try await upstream.publish()
        try await upstream.run(
            "echo 'zz filter=broken' > .git/info/attributes; git config filter.broken.clean cat; git config filter.broken.smudge false; git config filter.broken.required true"
        )
        try await upstream.commit(
            script: "rm link; mkdir -p link/lib; echo 2 > link/lib/c; echo 2 > link/lib/d; echo 2 > zz")
        for lock in [false, true] {
            // With a lock git fails before it has replaced anything.
            if lock { try await upstream.run("touch .git/HEAD.lock") }
            let error = await gitError { try await upstream.publish() }
            #expect(error?.leavesWorkspace == true || lock, "\(error?.explanation ?? "")")
            #expect(try await upstream.run("cat v1/lib/c ../outside/lib/c; readlink link") == "1\nmine\n\(target)\n")
            #expect(try await upstream.run("ls link/lib") == "c\n")
        }
    }

    @Test("what is restored does not go through a link that was there, and a submodule's folder is not said to be back")
    func replacedFiles() throws {
        let folder = try TemporaryFolder()
        try folder.write("ws/v1/lib/c", "1")
        try folder.write("ws/.git/x", "")
        symlink("v1", folder.path + "/ws/link")
        let root = try #require(OpenFolder(path: folder.path + "/ws"))
        let replaced = try ReplacedFiles(in: folder.path + "/ws/.git")
        for name in ["link/lib/c", "link/lib/d", "link"] { replaced.keep(FileName(name), in: root) }
        #expect(replaced.restore())
        #expect(folder.read("ws/v1/lib/c") == "1" && link(folder.path + "/ws/link") == "v1")
        let other = try ReplacedFiles(in: folder.path + "/ws/.git")
        other.lose()
        #expect(!other.restore())
    }

    @Test("a first checkout that fails has nothing to go back to, and the next attempt completes it")
    func first() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1", "zz": "1"])
        try await upstream.run(
            "git init -q ws; cd ws; echo 'zz filter=broken' > .git/info/attributes; git config filter.broken.clean cat; git config filter.broken.smudge false; git config filter.broken.required true",
            in: "up/..")
        let error = await gitError { try await upstream.publish() }
        #expect(error?.leavesWorkspace == false)
        try await upstream.run("rm .git/info/attributes")
        try await upstream.publish()
        #expect(upstream.folder.read("ws/a") == "1" && upstream.folder.read("ws/zz") == "1")
    }

    @Test("what a killed agent had kept goes at the next publishing")
    func leftOver() async throws {
        let upstream = try await Upstream()
        try await upstream.commit(["a": "1"])
        try await upstream.publish()
        try await upstream.run("mkdir .git/agent-replaced; ln a .git/agent-replaced/0")
        try await upstream.commit(["a": "2"])
        try await upstream.publish()
        #expect(!upstream.folder.exists("ws/.git/agent-replaced") && upstream.folder.read("ws/a") == "2")
    }
}

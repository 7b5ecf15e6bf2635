import Foundation
import Glibc
import Testing

/// What PRE_DEPLOY configures with git where it runs.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct HookConfigurationTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// Commits a PRE_DEPLOY.
    private func hook(_ script: String) async throws {
        try await box.commit(["pre.sh": script + "\n", "app.txt": "\(script.utf8.count)\n"])
    }

    private func settings(_ mode: String, _ more: [String: String] = [:]) -> [String: String] {
        ["PRE_DEPLOY_COMMAND": "sh ./pre.sh", "AGENT_PUBLISH": mode].merging(more) { $1 }
    }

    @Test(
        "it counts for git in that run, and for nothing that comes later", arguments: ["in-place", "symlink"],
        [
            "git config url.$PWD/nowhere.insteadOf $(dirname $OUT)/up.git; git config url.$PWD/x.insteadOf file://",
            "git config core.autocrlf true",
            "git config filter.x.required true; git config filter.x.clean cat; git config filter.x.smudge gone",
            "cd $(git rev-parse --git-dir); mkdir -p info; echo '* text eol=crlf' > info/attributes",
        ])
    func ends(mode: String, command: String) async throws {
        try box.write("*.txt filter=x\n", to: box.work + "/.gitattributes")
        try await hook(command)
        #expect(try await box.once(settings(mode)).outcome == "deployed")
        try await hook("git config --local --list >> $OUT/pre; true")
        let once = try await box.once(settings(mode))
        #expect(once.outcome == "deployed", "\(once)")
        #expect(try await box.head() == box.head(of: box.work))
        #expect(box.text(box.workspace + "/app.txt") == box.text(box.work + "/app.txt"))
        #expect(!box.lines("pre").contains { $0.contains("autocrlf") || $0.contains("url.") || $0.contains("filter.") })
    }

    @Test("POST_DEPLOY may configure git in its release, and look at its history; the agent's own stays as it was")
    func inRelease() async throws {
        let post = """
            git config core.autocrlf true; git config url./x.insteadOf file://
            git log -1 --format=%H >> $OUT/log; git describe --always >> $OUT/log
            """
        let settings = settings("symlink", ["POST_DEPLOY_COMMAND": post])
        for round in 1...2 {
            try await hook("echo \(round) > made")
            #expect(try await box.once(settings).outcome == "deployed")
            #expect(try await box.lines("log").suffix(2).first == box.head(of: box.work))
        }
        #expect(box.text(box.workspace + "/pre.sh") == "echo 2 > made\n")
        #expect(box.lines("log").count == 4)
    }

    @Test(
        "a token that a killed run had given git is gone at the next start, whatever that can do",
        arguments: ["in-place", "symlink"])
    func killed(mode: String) async throws {
        // What the agent prints it masks; this one stands in no setting, and comes from a file.
        try box.write("c2VjcmV0", to: box.out + "/token")
        try await hook(
            "git config http.extraHeader \"Authorization: Basic $(cat $OUT/token)\"; touch $OUT/ready; sleep 1000")
        let agent = try box.start("run", settings: settings(mode))
        try await until("the hook runs", details: { agent.errors }) { box.has("ready") }
        #expect(try await box.sh("grep -rl c2VjcmV0 state/workspaces") != "")
        try await agent.send(SIGKILL)
        _ = try await agent.ended()
        try await box.sh("mv up.git away.git")
        #expect(try await box.once(settings(mode)).outcome == "unreachable")
        #expect(try await box.sh("grep -rl c2VjcmV0 state/workspaces || true") == "")
    }
}

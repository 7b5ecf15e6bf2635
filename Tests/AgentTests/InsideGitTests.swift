import Foundation
import Glibc
import Testing

/// The agent started by a git at work, which tells whatever it starts what its own repository is.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct InsideGitTests {
    let box: Box

    init() async throws { box = try await Box() }

    @Test("neither hooks, tasks nor the app of exec get what git says of its own repository")
    func surroundings() async throws {
        let listed = try await box.sh("git rev-parse --local-env-vars").split(separator: "\n").map(String.init)
        let names = Set(listed + ["GIT_NAMESPACE", "GIT_QUARANTINE_PATH"])
        try await box.commit(["deploy.yaml": "tasks:\n  - {id: once, run: \"env > $OUT/task\"}\n"])
        let program = try box.start(
            program: [
                agentBinary, "exec", "--", "sh", "-c", "env > $OUT/app; \(Hooks.await_("post"))",
            ],
            [
                "PRE_DEPLOY_COMMAND": "env > $OUT/pre",
                "POST_DEPLOY_COMMAND": "env > $OUT/all; mv $OUT/all $OUT/post",
            ].merging(names.map { ($0, "/elsewhere") }) { $1 })
        let ended = try await program.ended()
        for place in ["pre", "task", "app", "post"] {
            let found = box.lines(place).compactMap { $0.split(separator: "=").first.map(String.init) }
            #expect(found.contains("OUT") && names.isDisjoint(with: found), "\(place): \(found) \(ended)")
        }
    }

    @Test("a hook from a repository of its own commits there, and not where the agent was started")
    func otherRepository() async throws {
        try await box.sh("git init -q -b main jobs; git -C jobs commit -q --allow-empty -m jobs")
        let settings = [
            "GIT_DIR": box.work + "/.git", "GIT_AUTHOR_NAME": "Hook", "GIT_AUTHOR_EMAIL": "h@t",
            "GIT_COMMITTER_NAME": "Hook", "GIT_COMMITTER_EMAIL": "h@t",
        ]
        let commit = "git commit -q --allow-empty -m hook; git log --format=%s > $OUT/"
        let once = try await box.once(
            settings.merging([
                "PRE_DEPLOY_COMMAND": commit + "pre", "PRE_DEPLOY_REPO_URL": box.root + "/jobs",
                "POST_DEPLOY_COMMAND": commit + "post",
            ]) { $1 })
        #expect(once.outcome == "deployed", "\(once)")
        #expect(box.lines("pre") == ["hook", "jobs"] && box.lines("post") == ["hook", "first"])
        #expect(try await box.sh("git log --format=%s", in: box.work) == "first")
    }

    /// Has a repository's own hook make a check.
    private func install(_ hook: String, in folder: String, _ settings: [String: String]) throws {
        let variables = box.environment.merging(settings) { $1 }.filter { !$0.value.isEmpty }
        let exports = variables.map { "export \($0.key)='\($0.value)'\n" }.joined()
        let path = "\(folder)/hooks/\(hook)"
        try box.write(
            "#!/bin/sh\n\(exports)'\(agentBinary)' run-once > \"$OUT/log\" 2>&1; echo $? > \"$OUT/code\"\n", to: path)
        chmod(path, 0o755)
    }

    private static let look =
        "git rev-parse HEAD > $OUT/head; git status --porcelain > $OUT/status; git add -A; git stash list"

    @Test(
        "a push deploys from within the hooks of the repository that gets it",
        arguments: ["pre-receive", "post-receive"])
    func push(hook: String) async throws {
        try install(hook, in: box.upstream, ["PRE_DEPLOY_COMMAND": Self.look, "POST_DEPLOY_COMMAND": "git status"])
        let before = try await box.head(of: box.work)
        let pushed = try await box.commit(["app.txt": "v2\n"])
        #expect(box.lines("code") == ["0"], "\(box.lines("log"))")
        // What is pushed is not there yet before it is received.
        #expect(box.lines("head") == [hook == "pre-receive" ? before : pushed])
        #expect(box.has("status") && box.lines("status").isEmpty)
    }

    @Test("a commit in a linked work tree deploys from within its post-commit, and leaves the index alone")
    func linkedWorkTree() async throws {
        try await box.sh("git -C dev worktree add -q ../ws -b live")
        try install(
            "post-commit", in: box.work + "/.git", ["GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": Self.look])
        let commit = "echo v2 > app.txt; echo new > new.txt; git add -A; git commit -q -m second; git rev-parse HEAD"
        let head = try await box.sh(commit, in: box.workspace)
        #expect(box.lines("code") == ["0"] && box.lines("head") == [head], "\(box.lines("log"))")
        #expect(box.has("status") && box.lines("status").isEmpty)
        #expect(try await box.sh("git status --porcelain; git log --format=%s", in: box.workspace) == "second\nfirst")
    }
}

import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct WorkspaceStateTests {
    let folder: TemporaryFolder
    private var workspace: Workspace { Workspace(path: folder.path + "/ws") }

    init() throws {
        folder = try TemporaryFolder()
    }

    private func prepare(_ script: String) async throws {
        let result = try await shell("set -e; \(script)", in: folder.path)
        guard result.verdict.isSuccess else { throw PreparationFailed(result.output) }
    }

    @Test(
        "what may be filled is empty",
        arguments: [
            "true", "mkdir ws", "mkdir -p ws/.git", "mkdir real; ln -s real ws",
            // A file system that was just made.
            "mkdir -p ws/lost+found; chmod 700 ws/lost+found", "mkdir -p ws/lost+found ws/.git",
        ])
    func empty(script: String) async throws {
        try await prepare(script)
        #expect(try await workspace.state() == .empty)
    }

    @Test("the agent's own folder in a workspace does not make it somebody else's, anything beside it does")
    func ownFolder() async throws {
        try await prepare("mkdir -p ws/.agent/state; touch ws/.agent/state/x")
        let workspace = Workspace(path: folder.path + "/ws", stateDirectory: folder.path + "/ws/.agent/state")
        #expect(try await workspace.state() == .empty)
        try folder.write("ws/file", "")
        #expect(try await workspace.state() == .foreign("is not empty and no git checkout: it has file"))
    }

    @Test(
        "what is something else is foreign",
        arguments: [
            ("mkdir -p ws/.git; touch ws/x", "not empty"), ("touch f; ln -s f ws", "link"), ("mkfifo ws", "file"),
            ("mkdir ws; ln -s nowhere ws/dangling", "not empty"), ("git init -q .; mkdir ws; touch ws/x", "not empty"),
            ("mkdir ws; touch ws/lost+found", "it has lost+found"), ("mkdir -p ws/lost+found ws/b", "it has b"),
            ("mkdir -p ws/.git ws/c ws/a ws/b", "it has a, b, c"),
            ("mkdir ws; touch ws/1 ws/2 ws/3 ws/4", "it has 1, 2, 3 and 1 more"),
        ])
    func foreign(script: String, reason: String) async throws {
        try await prepare(script)
        guard case .foreign(let text) = try await workspace.state() else {
            Issue.record("it is taken for a workspace")
            return
        }
        #expect(text.hasSuffix(reason) || !reason.hasPrefix("it has"))
        #expect(text.contains(reason))
    }

    @Test(
        "a checkout whose files, index or HEAD are those of another folder is nobody's to move",
        arguments: [
            ("git -C ws config core.worktree ../../desk", "core.worktree"),
            ("git -C ws config core.worktree $PWD/desk", "core.worktree"),
            // As `git sparse-checkout` keeps it.
            (
                "git -C ws config extensions.worktreeConfig true; git config -f ws/.git/config.worktree core.worktree ../../desk",
                "core.worktree"
            ),
            ("git -C desk worktree add -q --detach ../own; rm -rf ws; cp -a own ws", "core.worktree"),
            ("rm -rf ws; mkdir ws; echo 'gitdir: ../desk/.git' > ws/.git", "another checkout"),
            ("rm -rf ws/.git; ln -s ../desk/.git ws/.git", "another checkout"),
        ])
    func elsewhere(script: String, reason: String) async throws {
        try await prepare(
            """
            for r in ws desk; do git init -q $r; echo 1 > $r/a; git -C $r add a
            git -C $r -c user.name=a -c user.email=a@example.org commit -qm a; done; \(script)
            """)
        guard case .elsewhere(let text) = try await workspace.state() else {
            Issue.record("it is taken for a workspace")
            return
        }
        #expect(text.contains(reason) && text.contains("/desk") || text.contains("/own"), "\(text)")
        let error = await gitError {
            let program = GitProgram(
                environment: [Array("PATH=/usr/bin:/bin".utf8)], timeout: .seconds(60), killGrace: .seconds(1),
                marker: uniqueText(), stop: nil)
            _ = try await workspace.publish(
                String(repeating: "0", count: 40), from: CommitStore(folder: folder.path + "/state"),
                stagedOutput: false,
                origin: "x", program)
        }
        #expect(error?.code == .notACheckout)
    }

    @Test("a git folder apart from the checkout is the checkout's own")
    func separateGitFolder() async throws {
        try await prepare("git init -q --separate-git-dir=app.git ws")
        #expect(try await workspace.state() == .checkout(head: nil))
    }

    @Test(
        "a checkout is one with its commit, however git keeps it",
        arguments: [
            "true", "git checkout -q --detach", "git pack-refs --all", "git config core.fsmonitor true",
            "mv ../ws ../real; ln -s real ../ws",
            "git worktree add -q ../other; mv ../ws ../main; git -C ../main worktree repair ../other >&2; ln -s other ../ws",
        ])
    func checkout(script: String) async throws {
        try await prepare(
            "git init -q ws; cd ws; echo 1 > a; git add a; git commit -q -m x; git rev-parse HEAD > ../head; \(script)")
        let head = try #require(folder.read("head")).dropLast()
        #expect(try await workspace.state() == .checkout(head: String(head)))
    }

    @Test("a checkout without a commit has no head")
    func unborn() async throws {
        try await prepare("git init -q ws")
        #expect(try await workspace.state() == .checkout(head: nil))
    }

    @Test(
        "a checkout that cannot be read is damaged, not empty and not foreign",
        arguments: ["printf garbage > .git/HEAD", "printf zzz > .git/refs/heads/main"])
    func damaged(script: String) async throws {
        try await prepare("git init -q -b main ws; cd ws; echo 1 > a; git add a; git commit -q -m x; \(script)")
        #expect(await gitError { _ = try await workspace.state() }?.code == .corrupt)
    }
}

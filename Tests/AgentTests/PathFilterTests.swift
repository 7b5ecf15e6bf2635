import Foundation
import TestSupport
import Testing

/// Hooks that run only when certain files have changed, and what they are told of them.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct PathFilterTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let settings = [
        "PRE_DEPLOY_COMMAND": "echo pre >> $OUT/trace", "PRE_DEPLOY_PATHS": "db/ *.sql",
        "POST_DEPLOY_COMMAND": "echo post >> $OUT/trace; sort < $DEPLOY_CHANGED_FILES > $OUT/changed",
        "POST_DEPLOY_PATHS": ":!docs\n:!*.md",
    ]

    private func deploy(
        _ more: [String: String] = [:], force: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> (once: Box.Once, ran: [String]) {
        box.remove("trace")
        let once = try await box.once(Self.settings.merging(more) { $1 }, force: force)
        #expect(once.outcome == "deployed", "\(once)", sourceLocation: sourceLocation)
        return (once, box.lines("trace"))
    }

    @Test(
        "a hook runs when a file that changed since the last success matches; else it is recorded as skipped, with why")
    func filtered() async throws {
        try await box.commit(["db/1.sql": "1"])
        #expect(try await deploy().ran == ["pre", "post"])
        let first = try await box.head()
        try await box.commit(["app.txt": "v2"])
        let watched = ["LD_PRELOAD": try await Preload.library, "PRELOAD_ARGUMENTS": box.out + "/arguments"]
        let (once, ran) = try await deploy(watched)
        #expect(ran == ["post"] && box.lines("changed") == ["app.txt"])
        // No program is asked for it.
        let calls = box.lines("arguments")
        #expect(
            calls.contains { $0.contains("git ls-remote ") }
                && !calls.contains { $0.contains("git diff ") || $0.contains("diff-tree") }, "\(calls)")
        let run = try #require(once.runs.first)
        #expect(run["hook"].string == "PRE_DEPLOY" && run["status"].string == "skipped")
        #expect(
            run["error_message"].string
                == "no file that changed since \(first.prefix(7)) matches PRE_DEPLOY_PATHS")
        #expect(
            run["exit_code"].isNull && run["log"].isNull && run["completed_at"].string != nil
                && once.deployment["warnings"].int == 0)
        #expect(once.runs.count == 2 && once.runs[1]["status"].string == "succeeded")
        #expect(try await box.agent("show", "\(once.deployment["id"])").output.contains("skipped"))
        #expect(try await box.agent("logs", "\(run["id"])").errors.contains("was skipped: no file that changed"))
        // Both.
        try await box.commit(["docs/x": "1", "README.md": "1"])
        let none = try await deploy()
        #expect(none.ran == [] && none.once.runs.map { $0["status"].string } == ["skipped", "skipped"])
        #expect(box.text(box.workspace + "/README.md") == "1")
        // A change counts until a deployment with it has succeeded.
        try await box.commit(["x/y.sql": "1"])
        let failed = try await box.once(Self.settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 })
        #expect(failed.outcome == "failed")
        try await box.commit(["docs/x": "2"])
        #expect(try await deploy().ran == ["pre", "post"])
    }

    @Test("the lists have every changed path, of a renamed file both, also names that no line can hold")
    func lists() async throws {
        let hook = [
            "PRE_DEPLOY_PATHS": "", "POST_DEPLOY_PATHS": "",
            "PRE_DEPLOY_COMMAND": "cp $DEPLOY_CHANGED_FILES $OUT/lines; cp $DEPLOY_CHANGED_FILES_Z $OUT/ending",
        ]
        _ = try await deploy(hook)
        // The first time every file is new.
        #expect(box.lines("lines") == ["app.txt"])
        try await box.commit(["gone": "a text that is long enough to be found again\n", "sub/changed": "1"])
        _ = try await deploy(hook)
        try await box.sh("git mv gone moved; echo x > \"$(printf 'a\\nb')\"", in: box.work)
        try await box.commit(["sub/changed": "2"])
        _ = try await deploy(hook)
        #expect(
            box.text(box.out + "/ending")?.split(separator: "\0").sorted() == ["a\nb", "gone", "moved", "sub/changed"])
        #expect(box.text(box.out + "/lines")?.contains("\nsub/changed\n") == true)
    }

    @Test(
        "what a hook did for a commit that was not deployed in the end counts as well, and a run that failed is made up for"
    )
    func undone() async throws {
        let strict = ["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_PATHS": "conf", "PRE_DEPLOY_COMMAND": ""]
        try await box.commit(["conf/x": "1"])
        _ = try await deploy(strict)
        try await box.commit(["conf/x": "2"])
        let failed = try await box.once(
            Self.settings.merging(strict) { $1 }.merging(["POST_DEPLOY_COMMAND": "exit 1"]) { $1 })
        #expect(failed.outcome == "failed")
        // Back to what was deployed last: nothing has changed since, and the hook has to undo what it did.
        try await box.commit(["conf/x": "1"])
        #expect(try await deploy(strict).ran == ["post"])
        // PRE_DEPLOY succeeded for a commit whose POST_DEPLOY failed.
        let both = ["POST_DEPLOY_MODE": "strict", "POST_DEPLOY_PATHS": ""]
        try await box.commit(["db/x": "1"])
        let half = try await box.once(
            Self.settings.merging(both) { $1 }.merging(["POST_DEPLOY_COMMAND": "exit 1"]) { $1 })
        #expect(half.outcome == "failed")
        try await box.sh("git rm -q db/x", in: box.work)
        try await box.commit()
        #expect(try await deploy(both).ran == ["pre", "post"])
        // A lenient failure is a success of the deployment, and none of the hook.
        try await box.commit(["conf/x": "3"])
        let lenient = ["POST_DEPLOY_PATHS": "conf", "PRE_DEPLOY_COMMAND": ""]
        _ = try await deploy(lenient.merging(["POST_DEPLOY_COMMAND": "exit 1"]) { $1 })
        try await box.commit(["docs/x": "1"])
        #expect(try await deploy(lenient).ran == ["post"])
        try await box.commit(["docs/x": "2"])
        #expect(try await deploy(lenient).ran == [])
    }

    @Test(
        "what asks for the hook in another way wins: --force, the same commit, a rollback, an attempt after a failure")
    func asked() async throws {
        #expect(try await deploy(["PRE_DEPLOY_PATHS": "app.txt"]).ran == ["pre", "post"])
        #expect(try await deploy(force: true).ran == ["pre", "post"])
        try await box.commit(["db/x": "1"])
        #expect(try await deploy().ran == ["pre", "post"])
        // Back: what has changed between the two matches neither.
        try await box.commit(["docs/x": "1"])
        #expect(try await deploy().ran == [])
        box.remove("trace")
        let back = try await box.json("rollback", "--with-pre", settings: Self.settings)
        #expect(back["outcome"].string == "deployed" && box.lines("trace") == ["pre", "post"], "\(back)")
        // A hook that ran since a person said so, and failed, is tried again.
        try await box.commit(["docs/x": "2"])
        let failed = try await box.once(
            Self.settings.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 }, force: true)
        #expect(failed.outcome == "failed")
        #expect(try await deploy().ran.first == "pre")
    }

    @Test(
        "the last commit is fetched to be compared with where it is no longer there; else everything counts as changed")
    func base() async throws {
        let own = ["AGENT_LEDGER_URL": "sqlite:\(box.root)/record.sqlite"]
        _ = try await deploy(own)
        try await box.commit(["docs/x": "1"])
        try FileManager.default.removeItem(atPath: box.state)
        #expect(try await deploy(own).ran == [])
        // Nobody has it any more.
        try await box.sh(
            "git checkout -q --orphan other; git add -A; git commit -qm other; git push -q -f origin HEAD:main; git -C ../up.git reflog expire --expire=now --all; git -C ../up.git gc -q --prune=now",
            in: box.work)
        try await box.commit(["docs/y": "1", "db/x": "1"])
        try FileManager.default.removeItem(atPath: box.state)
        let (once, ran) = try await deploy(own)
        #expect(ran == ["pre", "post"] && once.ended.errors.contains("everything counts as changed"), "\(once)")
    }

    @Test("also without a remote, and where the workspace is a link", arguments: ["watched", "symlink"])
    func otherWays(way: String) async throws {
        var more = ["AGENT_PUBLISH": way]
        if way == "watched" {
            try await box.cloneWorkspace()
            more = ["GITHUB_REPO_URL": ""]
        }
        _ = try await deploy(more)
        try await box.commit(["docs/x": "1"])
        if way == "watched" { try await box.sh("git pull -q", in: box.workspace) }
        let (once, ran) = try await deploy(more)
        #expect(ran.isEmpty && once.runs.first?["status"].string == "skipped", "\(once)")
        try await box.commit(["db/x": "1"])
        if way == "watched" { try await box.sh("git pull -q", in: box.workspace) }
        #expect(try await deploy(more).ran == ["pre", "post"])
    }

    @Test(
        "a release needs what PRE_DEPLOY makes there: then it runs whatever has changed",
        arguments: [
            "echo $DEPLOY_COMMIT > made", "echo $DEPLOY_COMMIT > made; echo made > .gitignore",
            "echo $DEPLOY_COMMIT > made; git add made; git commit -qm made",
        ])
    func makes(command: String) async throws {
        let identity = ["GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@t", "GIT_COMMITTER_NAME": "a"]
            .merging(["GIT_COMMITTER_EMAIL": "a@t"]) { $1 }
        func deploys(_ command: String, pre: Bool) async throws {
            let (once, ran) = try await deploy(
                ["AGENT_PUBLISH": "symlink", "PRE_DEPLOY_COMMAND": "echo pre >> $OUT/trace; \(command)"].merging(
                    identity
                ) { $1 })
            #expect(ran == (pre ? ["pre"] : []), "\(once)")
        }
        try await box.sh("mkdir docs; echo 0 > docs/0", in: box.work)
        try await box.commit(["app.txt": "v2", "x.sql": "1"])
        _ = try await deploy(
            ["AGENT_PUBLISH": "symlink", "PRE_DEPLOY_COMMAND": "echo pre >> $OUT/trace; \(command)"].merging(identity) {
                $1
            })
        for version in 1...2 {
            let commit = try await box.commit(["docs/x": "\(version)"])
            try await deploys(command, pre: true)
            #expect(box.text(box.workspace + "/made") == commit + "\n")
        }
        // One that leaves nothing runs once more, and then when it has to.
        for (version, pre) in [(3, true), (4, false), (5, false)] {
            try await box.commit(["docs/x": "\(version)"])
            try await deploys(":", pre: pre)
        }
        try await box.commit(["docs/x": "6"])
        let ungated = try await deploy(["AGENT_PUBLISH": "symlink", "PRE_DEPLOY_GATE": "false"])
        #expect(ungated.ran == ["pre"] && ungated.once.ended.errors.contains("PRE_DEPLOY_PATHS does not count"))
    }

    @Test("a start that deploys always runs all hooks, until one deployment has succeeded")
    func start() async throws {
        _ = try await deploy()
        try await box.commit(["docs/x": "1"])
        box.remove("trace")
        let app = try box.start(
            "exec", "--", "sh", "-c", "touch $OUT/app; sleep 1000", settings: Self.settings)
        try await until("the app runs and POST_DEPLOY ran", details: { app.errors }) {
            box.has("app") && box.lines("trace").count == 2
        }
        #expect(box.lines("trace") == ["pre", "post"])
        try await box.commit(["docs/x": "2"])
        try await until("the next commit is deployed", details: { app.errors }) { try await box.history().count == 3 }
        try await until("it is over") { try await box.history().first?["status"].string == "succeeded" }
        #expect(box.lines("trace") == ["pre", "post"])
    }
}

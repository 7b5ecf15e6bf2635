import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct GateTests {
    let box: Box

    init() async throws { box = try await Box() }

    @Test(
        "a PRE_DEPLOY that does not succeed leaves the workspace byte for byte, and nothing of its stage",
        arguments: [
            "exit 1", "kill -9 $$", "exit 75", "sleep 1000", "git commit -qam x; exit 1",
            "git config user.name x; git tag t; exit 1",
        ])
    func failureLeavesTheWorkspace(_ ending: String) async throws {
        try await box.commit([".gitignore": "*.tmp\n", "sub/a": "a"])
        #expect(try await box.once(["PRE_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT > conf.tmp"]).outcome == "deployed")
        try box.write("mine", to: box.workspace + "/upload.bin")
        try box.write("changed here", to: box.workspace + "/app.txt")
        let before = try await box.fingerprint(box.workspace)
        try await box.commit(["app.txt": "v2\n", "sub/b": "b"])
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND":
                "pwd > $OUT/stage; echo junk > conf.tmp; echo junk > junk; mkdir -p d/e; echo > d/e/f; chmod -R a-w d; rm -r sub; echo changed > app.txt; \(ending)",
            "PRE_DEPLOY_TIMEOUT": ending == "sleep 1000" ? "4" : "300",
        ])
        #expect([1, 75].contains(once.code), "\(once)")
        #expect(try await box.fingerprint(box.workspace) == before)
        let stage = try #require(box.lines("stage").first)
        #expect(stage != box.workspace && !stage.hasPrefix(box.workspace + "/"))
        #expect(access(stage, F_OK) != 0, "the stage is still there")
        #expect(
            try await box.sh("grep -rl junk state --include='*junk*' || true; find state -name junk -o -name conf.tmp")
                .isEmpty)
    }

    @Test("a lenient PRE_DEPLOY that fails publishes the plain commit without what it wrote")
    func lenientPublishesThePlainCommit() async throws {
        try await box.commit([".gitignore": "*.tmp\n"])
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND": "echo half > conf.tmp; echo half > new; echo half > app.txt; exit 1",
            "PRE_DEPLOY_MODE": "lenient",
        ])
        #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 1, "\(once)")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        #expect(try await box.sh("git status --porcelain --ignored", in: box.workspace) == "")
    }

    @Test("what PRE_DEPLOY wrote comes along: new, ignored, changed and executable files, links and empty folders")
    func stagedOutputIsPublished() async throws {
        try await box.commit([".gitignore": "*.tmp\n"])
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND":
                "echo c > conf.tmp; mkdir -p deep/er empty; echo n > deep/er/new; echo changed > app.txt; echo x > run.sh; chmod 750 run.sh; ln -s app.txt link"
        ])
        #expect(once.outcome == "deployed", "\(once)")
        #expect(box.text(box.workspace + "/conf.tmp") == "c\n" && box.text(box.workspace + "/deep/er/new") == "n\n")
        #expect(box.text(box.workspace + "/app.txt") == "changed\n")
        #expect(
            try await box.sh("stat -c %a run.sh; readlink link; stat -c %F empty", in: box.workspace)
                == "750\napp.txt\ndirectory")
        #expect(try await box.head() == box.head(of: box.work))
    }

    @Test("the staged checkout is the commit's, without what lies in the workspace only")
    func stageIsClean() async throws {
        #expect(try await box.once().outcome == "deployed")
        try box.write("local", to: box.workspace + "/local.txt")
        let second = try await box.commit(["app.txt": "v2\n"])
        let once = try await box.once([
            "PRE_DEPLOY_COMMAND":
                "ls -A | grep -v '^.git$' > $OUT/ls; git rev-parse HEAD > $OUT/head; git status --porcelain > $OUT/status; cat app.txt >> $OUT/app",
            "POST_DEPLOY_COMMAND": "pwd -P > $OUT/post; cat app.txt > $OUT/postapp; git rev-parse HEAD > $OUT/posthead",
        ])
        #expect(once.outcome == "deployed", "\(once)")
        #expect(
            box.lines("ls") == ["app.txt"] && box.lines("head") == [second] && box.lines("status").isEmpty
                && box.lines("app") == ["v2"])
        #expect(
            box.lines("post") == [box.workspace] && box.lines("postapp") == ["v2"] && box.lines("posthead") == [second])
        #expect(box.text(box.workspace + "/local.txt") == "local")
    }

    @Test("publishing sets tracked files, keeps untracked ones, and says what it discarded")
    func publishing() async throws {
        try await box.commit(["gone.txt": "x", "keep/k": "1"])
        #expect(try await box.once().outcome == "deployed")
        try box.write("edited", to: box.workspace + "/app.txt")
        try box.write("untracked", to: box.workspace + "/cache/file")
        try box.write("in the way", to: box.workspace + "/arriving.txt")
        try await box.sh("git rm -q gone.txt", in: box.work)
        try await box.commit(["arriving.txt": "from git", "keep/k": "2"])
        let once = try await box.once()
        #expect(once.outcome == "deployed", "\(once)")
        #expect(
            box.text(box.workspace + "/app.txt") == "v1\n" && box.text(box.workspace + "/arriving.txt") == "from git")
        #expect(box.text(box.workspace + "/gone.txt") == nil && box.text(box.workspace + "/cache/file") == "untracked")
        #expect(
            once.ended.errors.contains("app.txt") && once.ended.errors.contains("arriving.txt"), "\(once.ended.errors)")
        #expect(!once.ended.errors.contains("cache/file"))
    }

    @Test("without the gate a failing PRE_DEPLOY leaves the workspace on the new commit")
    func withoutGate() async throws {
        #expect(try await box.once().outcome == "deployed")
        let second = try await box.commit(["app.txt": "v2\n"])
        let once = try await box.once([
            "PRE_DEPLOY_GATE": "false", "PRE_DEPLOY_COMMAND": "pwd -P > $OUT/pwd; exit 1",
            "POST_DEPLOY_COMMAND": "touch $OUT/post",
        ])
        #expect(once.code == 1 && box.lines("pwd") == [box.workspace] && !box.has("post"), "\(once)")
        #expect(try await box.head() == second)
    }

    @Test("nothing is fetched when the ref has not moved; the remote is asked for that one ref only")
    func nothingFetchedWhenUnmoved() async throws {
        try box.install("git", "echo \"$@\" >> $OUT/git; exec /usr/bin/git \"$@\"")
        let settings = ["GITHUB_BRANCH": "main"]
        #expect(try await box.once(settings).outcome == "deployed")
        box.remove("git")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(
            box.lines("git").count == 1 && box.lines("git")[0].hasPrefix("ls-remote")
                && box.lines("git")[0].contains("refs/heads/main"), "\(box.lines("git"))")
    }

    @Test("without a remote HEAD is read without any subprocess")
    func localWithoutSubprocess() async throws {
        try await box.cloneWorkspace()
        try box.install("git", "echo \"$@\" >> $OUT/git; exec /usr/bin/git \"$@\"")
        let settings = ["GITHUB_REPO_URL": "", "POST_DEPLOY_COMMAND": "echo >> $OUT/post"]
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(box.lines("git").isEmpty, "\(box.lines("git"))")
    }

    @Test(
        "a hook reads nothing, leads its own session, and is run by the shell that is set",
        arguments: ["bash", "sh", ""])
    func hookProcess(_ shell: String) async throws {
        let once = try await box.once([
            "POST_DEPLOY_COMMAND":
                "readlink /proc/$$/fd/0 > $OUT/stdin; cut -d' ' -f6 /proc/$$/stat > $OUT/session; echo $$ > $OUT/pid; readlink /proc/$$/exe > $OUT/exe; ls /proc/$$/fd > $OUT/fds",
            "AGENT_SHELL": shell,
        ])
        #expect(once.outcome == "deployed", "\(once)")
        #expect(box.lines("stdin") == ["/dev/null"] && box.lines("session") == box.lines("pid"))
        let exe = box.lines("exe").first ?? ""
        #expect(shell == "sh" ? exe.hasSuffix("/dash") || exe.hasSuffix("/sh") : exe.hasSuffix("/bash"), "\(exe)")
        #expect(Set(box.lines("fds")).isSubset(of: ["0", "1", "2", "3", "10", "255"]), "\(box.lines("fds"))")
    }

    @Test("first deployment: no previous commit; DEPLOY variables say startup and poll in a sidecar")
    func deployVariables() async throws {
        let agent = try box.start(
            "run",
            settings: [
                "POST_DEPLOY_COMMAND":
                    "echo \"$DEPLOY_TRIGGER [$DEPLOY_PREVIOUS_COMMIT] $DEPLOY_REF $DEPLOY_WORKSPACE\" >> $OUT/l"
            ])
        let first = try await box.head(of: box.work)
        try await until("the first is deployed") { box.lines("l").count == 1 }
        try await box.commit(["app.txt": "2"])
        try await until("the second is deployed") { box.lines("l").count == 2 }
        #expect(box.lines("l") == ["startup [] main \(box.workspace)", "poll [\(first)] main \(box.workspace)"])
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test(
        "files are published and stages removed whatever their names are, tracked or written by PRE_DEPLOY",
        arguments: ["with space", "quote\\042\\047", "new\\nline", "-dash", "\\303\\274 umlaut", "latin1 \\351"],
        ["true", "false"])
    func oddNames(_ name: String, _ ending: String) async throws {
        let make = "name=$(printf -- '\(name)'); mkdir -p -- \"./d$name\"; echo x > \"./d$name/$name\""
        try await box.sh("\(make); echo tracked > \"./t$name\"", in: box.work)
        try await box.commit()
        let settings = ["PRE_DEPLOY_COMMAND": "\(make); echo y > \"./g$name\"; test -e $OUT/good || \(ending)"]
        let once = try await box.once(settings)
        #expect(once.outcome == (ending == "true" ? "deployed" : "failed"), "\(once)")
        try box.touch("good")
        try await box.commit(["app.txt": "2"])
        let next = try await box.once(settings)
        #expect(next.outcome == "deployed", "\(next)")
        #expect(
            try await box.sh(
                "name=$(printf -- '\(name)'); cat \"./t$name\" \"./d$name/$name\" \"./g$name\"", in: box.workspace)
                == "tracked\nx\ny")
        #expect(
            try await box.sh("find state/workspaces -path '*/stage*' -not -path '*/repo.git/*'") == "",
            "the stage is still there")
    }

    @Test("going back to what is deployed needs no deployment when the commit in between never moved the workspace")
    func backToDeployed() async throws {
        let settings = [
            "PRE_DEPLOY_COMMAND": "! grep -q bad app.txt", "POST_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/post",
        ]
        #expect(try await box.once(settings).outcome == "deployed")
        let first = try await box.head(of: box.work)
        let bad = try await box.commit(["app.txt": "bad"])
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh("git reset -q --hard \(first); git push -qf origin HEAD:main", in: box.work)
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(try await box.head() == first)
        try await box.sh("git reset -q --hard \(bad); git push -qf origin HEAD:main", in: box.work)
        #expect(try await box.once(settings).deployment["attempt"].int == 2)
    }

    @Test("going back after a strict POST_DEPLOY failure deploys again: the workspace had moved")
    func backAfterPostFailure() async throws {
        let settings = [
            "POST_DEPLOY_COMMAND": "! grep -q bad app.txt", "POST_DEPLOY_MODE": "strict", "POST_DEPLOY_RETRIES": "5",
        ]
        #expect(try await box.once(settings).outcome == "deployed")
        let first = try await box.head(of: box.work)
        try await box.commit(["app.txt": "bad"])
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh("git reset -q --hard \(first); git push -qf origin HEAD:main", in: box.work)
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
    }

    @Test("a workspace that was lost is deployed again")
    func lostWorkspace() async throws {
        #expect(try await box.once().outcome == "deployed")
        try await box.sh("rm -rf ws")
        #expect(try await box.once().outcome == "deployed")
        #expect(try await box.head() == box.head(of: box.work))
    }

    @Test("environment values that are no UTF-8 reach the hook as they are")
    func rawEnvironment() async throws {
        let ended = try await box.start(
            program: ["/bin/bash", "-c", "export RAW=$'a\\xff\\xfeb\\nc=d'; exec \(agentBinary) run-once"],
            [
                "POST_DEPLOY_COMMAND": "printf %s \"$RAW\" > $OUT/raw; printf %s \"$MULTI\" > $OUT/multi",
                "MULTI": "ü\nline=2",
            ]
        ).ended()
        #expect(ended.code == 0, "\(ended)")
        #expect(FileManager.default.contents(atPath: box.out + "/raw") == Data([97, 0xFF, 0xFE, 98, 10, 99, 61, 100]))
        #expect(box.text(box.out + "/multi") == "ü\nline=2")
    }
}

/// FAILED_DEPLOY: what runs after a strict failure.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct FailedDeployTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let say =
        "echo $DEPLOY_FAILED_HOOK $DEPLOY_FAILED_STATUS $DEPLOY_FAILED_EXIT_CODE $DEPLOY_HOOK >> $OUT/failed"

    @Test("it runs after a strict failure of either hook and is told which, how and with what code")
    func runs() async throws {
        let pre = try await box.once(["PRE_DEPLOY_COMMAND": "exit 3", "FAILED_DEPLOY_COMMAND": Self.say])
        #expect(pre.code == 1 && pre.outcome == "failed")
        #expect(pre.runs.map { $0["hook"].string } == ["PRE_DEPLOY", "FAILED_DEPLOY"])
        #expect(pre.runs.last?["status"].string == "succeeded" && pre.runs.last?["mode"].string == "lenient")
        let post = try await box.once([
            "POST_DEPLOY_COMMAND": "sleep 100", "POST_DEPLOY_MODE": "strict", "POST_DEPLOY_TIMEOUT": "300ms",
            "AGENT_KILL_GRACE": "100ms", "FAILED_DEPLOY_COMMAND": Self.say,
        ])
        #expect(post.code == 1, "\(post)")
        #expect(
            box.lines("failed") == ["PRE_DEPLOY failed 3 FAILED_DEPLOY", "POST_DEPLOY timed_out FAILED_DEPLOY"])
    }

    @Test("its own failure never hides the first")
    func ownFailure() async throws {
        let once = try await box.once(["PRE_DEPLOY_COMMAND": "exit 3", "FAILED_DEPLOY_COMMAND": "exit 4"])
        #expect(
            once.code == 1 && once.deployment["error_message"].string == "PRE_DEPLOY failed: exit code 3", "\(once)")
        #expect(once.deployment["warnings"].int == 1 && once.runs.last?["exit_code"].int == 4, "\(once)")
        #expect(once.deployment["attempt"].int == 1)
        let again = try await box.once([
            "PRE_DEPLOY_COMMAND": "exit 3", "PRE_DEPLOY_RETRIES": "1", "FAILED_DEPLOY_COMMAND": "exit 4",
        ])
        #expect(again.deployment["attempt"].int == 2, "the attempts are those of PRE_DEPLOY alone: \(again)")
    }

    @Test("it does not run after a success, a lenient failure or a deferral")
    func otherEnds() async throws {
        for settings in [
            ["PRE_DEPLOY_COMMAND": "true"], ["PRE_DEPLOY_COMMAND": "exit 3", "PRE_DEPLOY_MODE": "lenient"],
            ["PRE_DEPLOY_COMMAND": "exit 75"],
        ] {
            _ = try await box.once(
                settings.merging(["FAILED_DEPLOY_COMMAND": Self.say, "POST_DEPLOY_COMMAND": "exit 1"]) { $1 },
                force: true)
        }
        #expect(!box.has("failed"))
    }
}

import Foundation
import TestSupport
import Testing

/// Hooks that come from a repository of their own.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct HookRepositoryTests {
    let box: Box
    private var jobs: String { box.root + "/jobs" }

    init() async throws {
        box = try await Box()
        try await box.sh("git init -q -b main jobs && git -C jobs config uploadpack.allowAnySHA1InWant true")
        _ = try await job(["bin/pre": "echo \"one $(cat $DEPLOY_CHECKOUT/app.txt) $PWD\" >> $OUT/pre\n"])
    }

    private func job(_ files: [String: String]) async throws -> String {
        for (name, text) in files { try box.write(text, to: jobs + "/" + name) }
        return try await box.sh("git add -A; git commit -q --allow-empty -m job; git rev-parse HEAD", in: jobs)
    }

    private func settings(_ more: [String: String] = [:]) -> [String: String] {
        [
            "PRE_DEPLOY_COMMAND": "sh ./pre", "PRE_DEPLOY_FOLDER": "bin", "PRE_DEPLOY_REPO_URL": "file://\(jobs)",
            // Of the app's repository, not of this one.
            "GITHUB_REPO_FOLDER": "hooks",
        ].merging(more) { $1 }
    }

    @Test("the hook runs in its own checkout, brought up to date before each run; the commit is on record")
    func updated() async throws {
        let first = try await box.sh("git rev-parse HEAD", in: jobs)
        let once = try await box.once(settings())
        #expect(once.outcome == "deployed" && once.runs[0]["hook_commit"].string == first, "\(once)")
        let line = try #require(box.lines("pre").first)
        // The app's commit is staged while the hook runs, and the hook's folder is none of the workspace.
        #expect(line.hasPrefix("one v1 \(box.state)/") && line.hasSuffix("/bin"))
        #expect(try await box.json("show", "\(once.deployment["id"])")["runs"][0]["hook_commit"].string == first)
        #expect(try await box.agent("show", "\(once.deployment["id"])").output.contains("hook commit  \(first)"))
        let second = try await job(["bin/pre": "echo two >> $OUT/pre; echo kept >> cache; wc -l < cache >> $OUT/pre\n"])
        for _ in 0..<2 {
            let again = try await box.once(settings(), force: true)
            #expect(again.runs[0]["hook_commit"].string == second)
        }
        // What a run wrote beside the tracked files stays.
        #expect(box.lines("pre").dropFirst() == ["two", "1", "two", "2"])
    }

    @Test(
        "what a run configures with git counts while it runs, and is gone then, also after a kill",
        arguments: [false, true])
    func configured(isKilled: Bool) async throws {
        let hook = """
            git config http.extraHeader "Authorization: Basic c2VjcmV0"; git config core.autocrlf true
            echo "*.x text eol=crlf" > .git/info/attributes; git config --get http.extraHeader >> $OUT/pre
            """
        _ = try await job(["pre.sh": hook + (isKilled ? "\ntouch $OUT/ready; sleep 1000\n" : "\n"), "a.x": "1\n"])
        let settings = settings(["PRE_DEPLOY_COMMAND": "mkdir -p .git/info; . ./pre.sh", "PRE_DEPLOY_FOLDER": "."])
        if isKilled {
            let agent = try box.start("run", settings: settings)
            try await until("the hook runs", details: { agent.errors }) { box.has("ready") }
            try await agent.send(SIGKILL)
            _ = try await agent.ended()
            // Where it cannot get further than to the beginning.
            try await box.sh("mv up.git away.git")
            #expect(try await box.once(settings).outcome == "unreachable")
            try await box.sh("mv away.git up.git")
        } else {
            #expect(try await box.once(settings).outcome == "deployed")
        }
        #expect(box.lines("pre") == ["Authorization: Basic c2VjcmV0"])
        #expect(try await box.sh("grep -rl c2VjcmV0 state/workspaces/*/hooks | grep -v pre.sh || true") == "")
        _ = try await job([
            "pre.sh": "wc -c < a.x >> $OUT/pre; git remote get-url origin >> $OUT/pre\n", "a.x": "2\n",
        ])
        #expect(try await box.once(settings, force: true).outcome == "deployed")
        #expect(box.lines("pre").suffix(2) == ["2", "file://\(jobs)"])
    }

    @Test("a checkout of an earlier version is used on, without what hooks have configured there")
    func earlierVersion() async throws {
        #expect(try await box.once(settings()).outcome == "deployed")
        try await box.sh(
            """
            cd state/workspaces/*/hooks/PRE_DEPLOY/checkout
            rm .git/agent-config; git config core.autocrlf true; touch bin/kept
            """)
        _ = try await job(["bin/pre": "wc -l < a >> $OUT/pre; wc -c < a >> $OUT/pre; ls kept >> $OUT/pre\n"])
        _ = try await job(["bin/a": "1\n"])
        #expect(try await box.once(settings(), force: true).outcome == "deployed")
        #expect(box.lines("pre").suffix(3) == ["1", "2", "kept"])
        let origin = try await box.sh("git -C state/workspaces/*/hooks/PRE_DEPLOY/checkout remote get-url origin")
        #expect(origin == "file://\(jobs)")
    }

    @Test("the branch is the remote's default one, or the one that is set; POST_DEPLOY has a repository of its own")
    func branch() async throws {
        try await box.sh(
            "git checkout -q -b next; echo 'echo next >> $OUT/pre' > bin/pre; git commit -qam next; git checkout -q main",
            in: jobs)
        let next = try await box.sh("git rev-parse next", in: jobs)
        let once = try await box.once(
            settings([
                "PRE_DEPLOY_REPO_BRANCH": "next", "POST_DEPLOY_REPO_URL": jobs,
                "POST_DEPLOY_COMMAND": "echo $DEPLOY_HOOK $DEPLOY_CHECKOUT >> $OUT/post",
            ]))
        #expect(box.lines("pre") == ["next"] && once.runs[0]["hook_commit"].string == next, "\(once)")
        #expect(box.lines("post") == ["POST_DEPLOY \(box.workspace)"])
        let main = try await box.sh("git rev-parse main", in: jobs)
        #expect(once.runs[1]["hook_commit"].string == main)
    }

    @Test("a checkout that no hook needs any more goes; a way back, which runs not all hooks, leaves it")
    func removed() async throws {
        func checkouts() async throws -> String { try await box.sh("ls state/workspaces/*/hooks") }
        #expect(try await box.once(settings()).outcome == "deployed")
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings()).outcome == "deployed")
        #expect(try await box.agent("rollback", settings: settings()).code == 0)
        #expect(try await checkouts() == "PRE_DEPLOY")
        let forward = try await box.head(of: box.work)
        #expect(try await box.agent("rollback", forward, settings: settings()).code == 0)
        #expect(try await checkouts() == "PRE_DEPLOY")
        try await box.commit(["app.txt": "v3\n"])
        let more = ["PRE_DEPLOY_REPO_URL", "PRE_DEPLOY_FOLDER", "GITHUB_REPO_FOLDER", "PRE_DEPLOY_COMMAND"]
        let failing = settings([
            "PRE_DEPLOY_REPO_URL": "", "PRE_DEPLOY_FOLDER": "", "GITHUB_REPO_FOLDER": "",
            "PRE_DEPLOY_COMMAND": "exit 1",
        ])
        #expect(try await box.once(failing).outcome == "failed")
        #expect(try await checkouts() == "PRE_DEPLOY")
        let unset = Dictionary(uniqueKeysWithValues: more.map { ($0, "") })
        #expect(try await box.once(settings(unset)).outcome == "deployed")
        #expect(try await checkouts().isEmpty)
    }

    @Test("a strict hook whose repository is away is put off; one that has no such branch fails; a lenient one warns")
    func away() async throws {
        let closed = "http://127.0.0.1:\(try await box.freePort())/jobs.git"
        let off = try await box.once(settings(["PRE_DEPLOY_REPO_URL": closed]))
        #expect(off.outcome == "deferred" && off.code == 75 && off.runs[0]["status"].string == "deferred", "\(off)")
        #expect(
            off.runs[0]["hook_commit"].isNull && off.runs[0]["error_message"].string?.contains("it was not run") == true
        )
        #expect(!FileManager.default.fileExists(atPath: box.workspace))
        let missing = try await box.once(settings(["PRE_DEPLOY_REPO_BRANCH": "nowhere"]))
        #expect(missing.outcome == "failed" && missing.runs[0]["status"].string == "failed", "\(missing)")
        let reason = missing.deployment["error_message"].string ?? ""
        #expect(reason.contains("nowhere") && reason.contains("PRE_DEPLOY_REPO_BRANCH"), "\(reason)")
        #expect(!reason.contains("GITHUB_"))
        let ftp = try await box.once(settings(["PRE_DEPLOY_REPO_URL": "ftp://127.0.0.1/jobs.git"]))
        #expect(ftp.code == 78 && ftp.ended.errors.contains("PRE_DEPLOY_REPO_URL"), "\(ftp)")
        let lenient = try await box.once(settings(["PRE_DEPLOY_REPO_URL": closed, "PRE_DEPLOY_MODE": "lenient"]))
        #expect(lenient.outcome == "deployed" && lenient.deployment["warnings"].int == 1, "\(lenient)")
        #expect(box.lines("pre").isEmpty && box.text(box.workspace + "/app.txt") == "v1\n")
    }

    @Test(
        "a hook's repository on another host has credentials of its own; the app's token does not go there",
        arguments: [false, true])
    func hosts(isInFile: Bool) async throws {
        try await box.sh("git clone -q --bare jobs jobs.git")
        let app = try await GitWebServer(serving: box.root, users: ["deploy": "app-t0ken"])
        let hooks = try await GitWebServer(serving: box.root, users: ["ops": "hook-s3cret"])
        defer { withExtendedLifetime((app, hooks)) {} }
        try box.write([app, hooks].compactMap { box.text($0.authorityFile) }.joined(), to: box.root + "/ca.pem")
        var more = [
            "GITHUB_REPO_URL": app.url("up.git"), "GITHUB_USERNAME": "deploy", "GITHUB_TOKEN": "app-t0ken",
            "AGENT_CA_FILE": box.root + "/ca.pem", "LD_PRELOAD": try await Preload.library,
            "PRELOAD_ARGUMENTS": box.out + "/arguments",
        ]
        if isInFile {
            try box.write("https://ops:hook-s3cret@localhost:\(hooks.httpsPort)\n", to: box.root + "/credentials")
            more["AGENT_CREDENTIALS_FILE"] = box.root + "/credentials"
            more["PRE_DEPLOY_REPO_URL"] = hooks.url("jobs.git")
        } else {
            more["PRE_DEPLOY_REPO_URL"] = hooks.url("jobs.git").replacing("https://", with: "https://ops:hook-s3cret@")
        }
        let once = try await box.once(settings(more))
        #expect(once.outcome == "deployed" && box.lines("pre").count == 1, "\(once)")
        #expect(!"\(once)".contains("s3cret"))
        #expect(try await box.sh("grep -rlF -e s3cret -e t0ken state ws out || true").isEmpty)
        #expect(box.lines("arguments").contains { $0.contains("jobs.git") })
        let tokens = ["deploy:app-t0ken", "ops:hook-s3cret"].map { Data($0.utf8).base64EncodedString() }
        #expect(await eventually { hooks.requests().contains { $0.contains(tokens[1]) } })
        #expect(!hooks.requests().contains { $0.contains(tokens[0]) })
        #expect(!app.requests().contains { $0.contains(tokens[1]) })
    }

    @Test("what the agent keeps of it is closed to others, and made anew where it is damaged")
    func damaged() async throws {
        #expect(try await box.once(settings(["AGENT_PUBLISH": "symlink"])).outcome == "deployed")
        let hooks = try await box.sh("echo state/workspaces/*/hooks")
        #expect(try await box.sh("stat -c %a \(hooks)") == "700")
        for damage in [
            "find \(hooks)/PRE_DEPLOY/repo.git/objects -type f -exec truncate -s 0 {} +",
            "rm -rf \(hooks)/PRE_DEPLOY/checkout/.git",
        ] {
            try await box.sh("chmod -R u+w \(hooks); \(damage)")
            _ = try await job([:])
            let once = try await box.once(settings(["AGENT_PUBLISH": "symlink"]), force: true)
            #expect(once.outcome == "deployed", "\(damage): \(once)")
        }
    }

    @Test("large files of it that are left as pointers are a warning of the deployment")
    func pointers() async throws {
        _ = try await job([
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "a.bin":
                "version https://git-lfs.github.com/spec/v1\noid sha256:\(String(repeating: "0", count: 64))\nsize 1\n",
        ])
        let once = try await box.once(settings(["AGENT_GIT_LFS": "off"]))
        #expect(once.outcome == "deployed" && once.deployment["warnings"].int == 1, "\(once)")
        #expect(once.ended.errors.contains("PRE_DEPLOY: 1 file is a Git LFS pointer"), "\(once)")
    }

    @Test("a folder that the other repository does not have is a failure of the run")
    func folder() async throws {
        let once = try await box.once(settings(["PRE_DEPLOY_FOLDER": "nothing"]))
        #expect(once.outcome == "failed")
        #expect(once.runs[0]["error_message"].string?.contains("PRE_DEPLOY_FOLDER") == true, "\(once)")
    }

    @Test("`agent check` shows both, without a password")
    func shown() async throws {
        let ended = try await box.agent(
            "check",
            settings: settings([
                "PRE_DEPLOY_REPO_URL": "https://ops:hunter2@hooks/x", "PRE_DEPLOY_REPO_BRANCH": "next",
                "PRE_DEPLOY_PATHS": "db",
            ]))
        #expect(
            ended.code == 0 && ended.output.contains("https://***@hooks/x") || ended.output.contains("ops:***@hooks/x"),
            "\(ended)")
        #expect(!"\(ended)".contains("hunter2") && ended.output.contains("PRE_DEPLOY_PATHS"))
    }
}

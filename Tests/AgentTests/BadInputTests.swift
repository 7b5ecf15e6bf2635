import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct BadInputTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let hooks = ["PRE_DEPLOY_COMMAND": "touch $OUT/ran", "POST_DEPLOY_COMMAND": "touch $OUT/ran"]

    // MARK: - Remote

    @Test("a remote that never answers is given up after AGENT_GIT_TIMEOUT", arguments: ["git", "http", "ssh"])
    func hangingRemote(_ scheme: String) async throws {
        let server = try SilentServer()
        let begin = ContinuousClock.now
        let once = try await box.once([
            "GITHUB_REPO_URL": scheme == "git" ? server.url : "\(scheme)://127.0.0.1:\(server.port)/r.git",
            "AGENT_GIT_TIMEOUT": "1s",
        ])
        #expect(once.code == 69 && once.outcome == "unreachable" && once.deployment.isNull, "\(once)")
        #expect(ContinuousClock.now - begin < .seconds(60), "the default is 120 s")
        #expect(once.ended.errors.contains("AGENT_GIT_TIMEOUT") || scheme == "ssh", "\(once)")
        #expect(box.survivors().isEmpty)
        withExtendedLifetime(server) {}
    }

    @Test("a branch that the remote does not have is named")
    func missingBranch() async throws {
        let once = try await box.once(Self.hooks.merging(["GITHUB_BRANCH": "nowhere"]) { $1 })
        #expect(once.code == 78 && once.ended.errors.contains("nowhere") && !box.has("ran"), "\(once)")
        #expect(once.outcome == "unreachable" && once.json["error_kind"].string == "permanent")
        #expect(once.json["error_message"].string?.contains("nowhere") == true)
    }

    @Test("an empty remote is reported; the first push is deployed")
    func emptyRemote() async throws {
        try await box.sh("git init -q --bare -b main empty.git")
        let once = try await box.once(["GITHUB_REPO_URL": "file://\(box.root)/empty.git"])
        #expect(once.code == 69 && once.ended.errors.contains("empty"), "\(once)")
        #expect(once.json["error_kind"].string == "transient")
        try await box.sh("git push -q ../empty.git HEAD:main", in: box.work)
        #expect(try await box.once(["GITHUB_REPO_URL": "file://\(box.root)/empty.git"]).outcome == "deployed")
    }

    @Test("an unreachable remote leaves app and record alone, and is tried again by `run`")
    func unreachableRemote() async throws {
        #expect(try await box.once(Self.hooks).outcome == "deployed")
        box.remove("ran")
        let before = try await box.fingerprint(box.workspace)
        rename(box.upstream, box.upstream + ".away")
        let agent = try box.start("run", settings: Self.hooks)
        try await until("it says so") { agent.errors.contains("WARN") }
        #expect(try await box.history().count == 1 && !box.has("ran"))
        #expect(try await box.fingerprint(box.workspace) == before)
        rename(box.upstream + ".away", box.upstream)
        let next = try await box.commit(["app.txt": "2"])
        try await until("the next commit is deployed") { try await box.history().first?["commit"].string == next }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    // MARK: - Repositories

    @Test("a workspace without a commit is reported", arguments: ["git init -q ws", "mkdir ws", "true"])
    func emptyLocal(_ preparation: String) async throws {
        try await box.sh(preparation)
        let once = try await box.once(Self.hooks.merging(["GITHUB_REPO_URL": ""]) { $1 })
        #expect(
            [69, 78].contains(once.code) && once.ended.errors.contains(box.workspace) && !box.has("ran"), "\(once)")
        let check = try await box.agent("check", settings: ["GITHUB_REPO_URL": ""])
        let hasNone = check.errors.contains("GITHUB_REPO_URL is not set; set one of them")
        #expect(check.code == 0 && hasNone == !preparation.hasPrefix("git"), "\(check)")
        #expect(try await !box.agent("check").errors.contains("WORKSPACE_PATH"))
    }

    @Test(
        "a damaged workspace is reported and nothing runs",
        arguments: [
            "echo rubbish > .git/HEAD", "find .git/objects -type f -exec truncate -s 0 {} +", "rm -r .git/objects",
            "echo '[' > .git/config",
        ])
    func corruptWorkspace(_ damage: String) async throws {
        try await box.cloneWorkspace()
        try await box.sh("chmod -R u+w .git; \(damage)", in: box.workspace)
        let once = try await box.once(Self.hooks.merging(["GITHUB_REPO_URL": ""]) { $1 })
        #expect(once.code != 0 && once.ended.errors.contains(box.workspace) && !box.has("ran"), "\(once)")
    }

    @Test(
        "one of somebody's own is for its owner to mend: with a remote, too, that is said before PRE_DEPLOY runs",
        arguments: [
            "head -c 41 /dev/zero > .git/HEAD", ": > .git/HEAD", "head -c 200 /dev/zero > .git/config",
            "echo '[' > .git/config", "for f in $(find .git/objects -type f); do rm $f; : > $f; done",
        ])
    func damagedClone(_ damage: String) async throws {
        try await box.cloneWorkspace()
        try await box.sh("chmod -R u+w .git; \(damage)", in: box.workspace)
        try await box.commit(["app.txt": "2"])
        let before = try await box.fingerprint(box.workspace)
        for _ in 0..<2 {
            let once = try await box.once(Self.hooks)
            #expect(once.code == 78 && !box.has("ran"), "\(once)")
            #expect(once.ended.errors.contains("move it away"), "\(once)")
            #expect(!once.ended.errors.contains("fetched anew"), "\(once)")
        }
        #expect(try await box.fingerprint(box.workspace) == before)
    }

    @Test(
        "one that the agent has made is mended, with a warning, and the commit is deployed",
        arguments: [
            "head -c 41 /dev/zero > .git/HEAD", ": > .git/HEAD", "rm .git/HEAD", "head -c 200 /dev/zero > .git/config",
            "echo '[' > .git/config", ": > .git/config; : > .git/HEAD",
            "find .git/objects -type f -exec truncate -s 0 {} +", "rm -r .git/objects/??",
        ])
    func damagedOwn(_ damage: String) async throws {
        #expect(try await box.once(Self.hooks).outcome == "deployed")
        box.remove("ran")
        try await box.sh("chmod -R u+w .git; echo mine > mine; \(damage)", in: box.workspace)
        let next = try await box.commit(["app.txt": "2"])
        let once = try await box.once(Self.hooks)
        #expect(once.outcome == "deployed" && box.has("ran"), "\(once)")
        #expect(once.ended.errors.contains("could not be read"), "\(once)")
        #expect(try await box.head() == next)
        #expect(box.text(box.workspace + "/mine") == "mine\n")
        #expect(try await box.sh("git remote get-url origin", in: box.workspace) == "file://\(box.upstream)")
        #expect(try await box.once(Self.hooks).outcome == "unchanged")
    }

    @Test(
        "a repository with SHA-256 is refused with the reason, and nothing of the agent's is called damaged",
        arguments: ["remote", "workspace", "both"])
    func sha256(_ place: String) async throws {
        try await box.sh("git init -q --object-format=sha256 far; git -C far commit -q --allow-empty -m x")
        if place != "remote" { try await box.sh("git clone -q far ws") }
        let url = place == "workspace" ? "" : "file://\(box.root)/far"
        for _ in 0..<2 {
            let once = try await box.once(Self.hooks.merging(["GITHUB_REPO_URL": url]) { $1 })
            #expect(once.code == 78 && once.ended.errors.contains("uses SHA-256") && !box.has("ran"), "\(once)")
            #expect(!once.ended.errors.contains("damaged"), "\(once)")
        }
    }

    @Test(
        "a damaged repository of the agent's own does not stop deployments for good",
        arguments: [
            "find repo.git/objects -type f -exec truncate -s 0 {} +", "rm -r repo.git/objects",
            "echo rubbish > repo.git/HEAD", "rm -r repo.git/refs",
            "echo > repo.git/shallow.lock; echo > repo.git/refs/agent/target.lock",
        ])
    func corruptStore(_ damage: String) async throws {
        #expect(try await box.once(Self.hooks).outcome == "deployed")
        try await box.sh("cd state/workspaces/*; chmod -R u+w .; \(damage)")
        let next = try await box.commit(["app.txt": "2"])
        var once = try await box.once(Self.hooks)
        // Damage that shows only when what PRE_DEPLOY wrote is to be published costs that attempt, and no further one.
        if once.outcome == "failed" { once = try await box.once(Self.hooks) }
        #expect(once.outcome == "deployed", "\(once)")
        #expect(try await box.head() == next)
    }

    @Test(
        "locks that a git left in the workspace long ago do not stand in the way",
        arguments: ["index.lock", "HEAD.lock", "shallow.lock", "config.lock"])
    func staleLock(_ name: String) async throws {
        #expect(try await box.once().outcome == "deployed")
        try await box.sh("touch -d '1 hour ago' .git/\(name)", in: box.workspace)
        let next = try await box.commit(["app.txt": "2"])
        let once = try await box.once()
        #expect(once.outcome == "deployed", "\(once)")
        #expect(try await box.head() == next)
        #expect(access(box.workspace + "/.git/" + name, F_OK) != 0)
    }

    @Test(
        "folders nested deeper than files may be open stop one deployment, not the agent",
        arguments: ["exit 1", "true"])
    func deepStage(_ ending: String) async throws {
        #expect(try await box.once().outcome == "deployed")
        let next = try await box.commit(["app.txt": "2"])
        let deep = [
            "PRE_DEPLOY_COMMAND":
                "test -e $OUT/good && exit; mkdir -p $(printf 'd/%.0s' $(seq 1200)); \(ending)"
        ]
        let failed = try await box.agent("run-once", settings: deep, limit: "ulimit -n 512")
        #expect(failed.code == 1, "\(failed)")
        #expect(ending == "exit 1" || failed.errors.contains("nested"), "\(failed)")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        try box.touch("good")
        let once = try await box.agent("run-once", settings: deep, limit: "ulimit -n 512")
        #expect(once.code == 0, "\(once)")
        #expect(try await box.head() == next)
    }

    // MARK: - Workspace and folders

    @Test(
        "a workspace that is none is refused and untouched",
        arguments: [
            "mkdir ws; echo mine > ws/file", "echo mine > ws", "git init -q --bare ws",
            "mkdir ws; ln -s /nowhere ws/link", "ln -s /nowhere ws", "mkdir -p ws/.git; echo x > ws/f",
        ])
    func foreignWorkspace(_ preparation: String) async throws {
        try await box.sh(preparation)
        let show = "find ws -printf '%P %y %m %l\\n' | sort; find ws -type f -print0 | xargs -0r sha256sum"
        let before = try await box.sh(show)
        for command in ["run-once", "run"] {
            let ended = try await box.agent(command, settings: Self.hooks)
            #expect(ended.code == 78 && ended.errors.contains("WORKSPACE_PATH"), "\(ended)")
        }
        // Only a warning: what will be deployed to may be another machine's.
        let check = try await box.agent("check", settings: Self.hooks)
        #expect(check.code == 0 && check.errors.contains("WORKSPACE_PATH: \(box.workspace) "), "\(check)")
        #expect(try await box.sh(show) == before)
        #expect(!box.has("ran"))
    }

    @Test(
        "a hook's folder that is not there, is a file, or leads out is named before anything runs",
        arguments: [
            ("hooks/none", "exist"), ("app.txt", "folder"), ("out", "link"), ("up/../..", "PRE_DEPLOY_FOLDER"),
            ("deep/out", "link"),
        ],
        ["true", "false"])
    func hookFolder(_ folder: (String, String), _ gate: String) async throws {
        try await box.sh("ln -s /tmp out; ln -s .. up; mkdir deep; ln -s ../../.. deep/out", in: box.work)
        try await box.commit()
        let once = try await box.once(
            Self.hooks.merging(["PRE_DEPLOY_FOLDER": folder.0, "PRE_DEPLOY_GATE": gate]) { $1 })
        #expect(
            once.code == 78 && once.ended.errors.contains("PRE_DEPLOY_FOLDER") && once.ended.errors.contains(folder.1),
            "\(once)")
        #expect(!box.has("ran"))
        #expect(try await box.history().isEmpty)
    }

    @Test("a hook's folder that is a link inside the checkout is fine")
    func linkInside() async throws {
        try await box.commit(["real/x": "1"])
        try await box.sh("ln -s real alias", in: box.work)
        try await box.commit()
        let once = try await box.once(["PRE_DEPLOY_FOLDER": "alias", "PRE_DEPLOY_COMMAND": "cat x > $OUT/x"])
        #expect(once.outcome == "deployed" && box.lines("x") == ["1"], "\(once)")
    }

    @Test("`GITHUB_REPO_FOLDER` comes before hook folders that do not start with it", arguments: ["pre", "hooks/pre"])
    func legacyFolder(_ folder: String) async throws {
        try await box.commit(["hooks/pre/x": "1"])
        let once = try await box.once([
            "GITHUB_REPO_FOLDER": "hooks", "PRE_DEPLOY_FOLDER": folder, "PRE_DEPLOY_COMMAND": "cat x > $OUT/x",
        ])
        #expect(once.outcome == "deployed" && box.lines("x") == ["1"], "\(once)")
    }

    // MARK: - Ledger and state

    @Test(
        "a damaged or foreign ledger is reported and not changed by a byte; nothing runs",
        arguments: [
            "head -c 40960 /dev/urandom > L", "echo hello > L",
            "dd if=/dev/urandom of=L bs=4096 seek=1 count=1 conv=notrunc status=none",
            // The number of schema steps, big-endian at offset 60 of the header: a newer agent's file.
            "printf '\\000\\000\\000\\143' | dd of=L bs=1 seek=60 conv=notrunc status=none",
            // The application id, at offset 68.
            "printf 'ABCD' | dd of=L bs=1 seek=68 conv=notrunc status=none", "rm L; mkdir L",
        ])
    func badLedger(_ damage: String) async throws {
        #expect(try await box.once(Self.hooks).outcome == "deployed")
        box.remove("ran")
        try await box.commit(["app.txt": "2"])
        let ledger = box.state + "/ledger.sqlite"
        try await box.sh(damage.replacingOccurrences(of: "L", with: ledger))
        let before = FileManager.default.contents(atPath: ledger)
        let names = try await box.sh("ls -A state")
        let once = try await box.once(Self.hooks)
        #expect(once.code == 69 && once.ended.errors.contains("ledger.sqlite") && !box.has("ran"), "\(once)")
        #expect(FileManager.default.contents(atPath: ledger) == before)
        for view in ["status", "history"] {
            let ended = try await box.agent(view)
            #expect(ended.code == 69 && ended.errors.contains("ledger.sqlite"), "\(ended)")
        }
        #expect(FileManager.default.contents(atPath: ledger) == before)
        #expect(try await box.sh("ls -A state") == names, "files were left beside it")
    }

    @Test("an empty ledger file is a new ledger")
    func emptyLedger() async throws {
        try box.write("", to: box.state + "/ledger.sqlite")
        #expect(try await box.once().outcome == "deployed")
    }

    @Test("a state directory that is a file, or below one, is named", arguments: ["/file", "/file/below"])
    func stateIsAFile(_ path: String) async throws {
        try box.write("x", to: box.root + "/file")
        let once = try await box.once(Self.hooks.merging(["AGENT_STATE_DIR": box.root + path]) { $1 })
        #expect(
            [69, 78].contains(once.code) && once.ended.errors.contains(box.root + "/file") && !box.has("ran"), "\(once)"
        )
    }

    @Test(
        "a state directory that may not be written is named and nothing runs",
        .enabled(if: geteuid() != 0, "root writes everywhere"))
    func readOnlyState() async throws {
        try await box.sh("mkdir state; chmod 500 state")
        let once = try await box.once(Self.hooks)
        #expect([69, 78].contains(once.code) && once.ended.errors.contains(box.state) && !box.has("ran"), "\(once)")
    }

    @Test("a ledger that cannot grow keeps everything from running", arguments: ["ulimit -f 1", "ulimit -f 8"])
    func fullDisk(_ limit: String) async throws {
        let ended = try await box.agent("run-once", "--json", settings: Self.hooks, limit: limit)
        #expect(ended.code == 69 && !box.has("ran"), "\(ended)")
        #expect(try await box.once(Self.hooks).outcome == "deployed", "it did not recover")
    }

    @Test("a log that cannot grow does not stop the hook", arguments: ["ulimit -f 1200"])
    func fullLog(_ limit: String) async throws {
        let ended = try await box.agent(
            "run-once", "--json", "--log-level", "error",
            settings: ["POST_DEPLOY_COMMAND": "seq 200000; touch $OUT/done"], limit: limit)
        #expect(box.has("done"), "\(ended)")
        #expect(try await box.history().first?["status"].string == "succeeded")
    }

    @Test(
        "a full disk is reported, nothing runs twice, and work goes on when there is room again",
        .enabled(if: mayMount, "a file system of its own cannot be mounted here"))
    func fullFileSystem() async throws {
        try await box.sh("mkdir state; mount -t tmpfs -o size=1m none state")
        do {
            #expect(try await box.once(Self.hooks).outcome == "deployed")
            box.remove("ran")
            try await box.sh("dd if=/dev/zero of=state/filler bs=4k status=none || true")
            try await box.commit(["app.txt": "2"])
            let once = try await box.once(Self.hooks)
            #expect(once.code != 0 && !box.has("ran"), "\(once)")
            unlink(box.state + "/filler")
            let after = try await box.once(Self.hooks)
            #expect(after.outcome == "deployed", "\(after)")
        } catch {
            _ = try? await box.sh("umount -l state")
            throw error
        }
        try await box.sh("umount -l state")
    }

    private static let mayMount: Bool = {
        guard geteuid() == 0 else { return false }
        let folder = NSTemporaryDirectory() + "/mount-" + UUID().uuidString
        mkdir(folder, 0o700)
        defer { rmdir(folder) }
        guard mount("none", folder, "tmpfs", 0, "size=64k") == 0 else { return false }
        umount2(folder, 2)
        return true
    }()

    // MARK: - The app spec

    @Test(
        "what is wrong in the app spec is named with its line",
        arguments: [
            ("name: x\nenvs:\n  - {key: PRE_DEPLOY_TIMEOUT, value: soon}\n", "PRE_DEPLOY_TIMEOUT", "line 3"),
            (
                "name: x\nenvs:\n  - key: A\n    value: b\n  - key: PRE_DEPLOY_MODE\n    value: maybe\n", "maybe",
                "line 6"
            ),
            ("name: x\nenvs:\n  - {key: A, value: 1\n", "YAML", "line"),
            ("spec:\n  name: x\n  envs:\n  - key: A\n    scope: SOMETIMES\n    value: x\n", "SOMETIMES", "line 5"),
            ("name: x\nenvs:\n  - value: only\n", "key", "line 3"),
            ("envs: nonsense\n", "envs", "line 1"),
            ("- a\n- b\n", "mapping", "line 1"),
            ("a: 1\na: 2\n", "a", "line"),
            ("version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n    - location: x\n", "CodeDeploy", "line 1"),
        ])
    func badSpec(_ spec: String, _ word: String, _ line: String) async throws {
        try await box.commit(["appspec.yaml": spec])
        for command in ["run-once", "run"] {
            let ended = try await box.agent(command, settings: Self.hooks)
            #expect(
                ended.code == 78 && ended.errors.contains(word) && ended.errors.contains(line)
                    && ended.errors.contains("appspec.yaml"), "\(ended)")
        }
        try await box.cloneWorkspace()
        let check = try await box.agent("check", settings: ["GITHUB_REPO_URL": ""])
        #expect(check.code == 78 && check.errors.contains(line), "\(check)")
        #expect(!box.has("ran"))
        #expect(try await box.history().isEmpty)
    }

    @Test("an unknown service is named with those there are")
    func unknownService() async throws {
        try await box.commit(["appspec.yaml": "services:\n  - name: web\n  - name: worker\n"])
        let once = try await box.once(Self.hooks.merging(["AGENT_SERVICE": "wbe"]) { $1 })
        #expect(
            once.code == 78 && ["AGENT_SERVICE", "wbe", "web", "worker"].allSatisfy(once.ended.errors.contains),
            "\(once)")
    }

    @Test("a `run` that meets a commit with a wrong spec says so, stays, and deploys the next right one")
    func wrongSpecLater() async throws {
        let agent = try box.start("run", settings: Self.hooks)
        try await until("the first is deployed") { try await box.history().count == 1 }
        try await box.commit(["appspec.yaml": "envs:\n  - {key: PRE_DEPLOY_MODE, value: maybe}\n"])
        try await until("it says so", details: { agent.errors }) { agent.errors.contains("maybe") }
        #expect(agent.code == nil)
        try await deploysTheNextRightOne(agent)
    }

    private func deploysTheNextRightOne(_ agent: Program) async throws {
        let right = try await box.commit(["appspec.yaml": "name: right\n"])
        try await until("the right one is deployed", details: { agent.errors }) { try await box.head() == right }
        try await agent.send(SIGTERM)
        #expect(try await agent.ended().code == 0)
    }

    @Test("one that starts at such a commit stays too where the workspace has another")
    func badSpecAtRestart() async throws {
        #expect(try await box.once().outcome == "deployed")
        try await box.commit(["appspec.yaml": "envs: [\n"])
        let agent = try box.start("run", settings: Self.hooks)
        try await until("it says so", details: { agent.errors }) { agent.errors.contains("appspec.yaml") }
        try await deploysTheNextRightOne(agent)
    }

    @Test("but not where the workspace holds that very commit")
    func badSpecInBoth() async throws {
        try await box.commit(["appspec.yaml": "envs: [\n"])
        try await box.cloneWorkspace()
        let ended = try await box.agent("run", settings: Self.hooks)
        #expect(ended.code == 78 && ended.errors.contains("appspec.yaml"), "\(ended)")
    }

    // MARK: - Usage

    @Test("what wrong usage repeats is masked")
    func usageWithSecret() async throws {
        let ended = try await box.agent(
            "run-once", "postgresql://u:s3cr3t-pw@host/db", "t0ken-in-env",
            settings: ["GITHUB_TOKEN": "t0ken-in-env"])
        #expect(ended.code == 64 && ended.errors.contains("postgresql://u:***@host/db"), "\(ended)")
        #expect(!ended.errors.contains("s3cr3t-pw") && !ended.errors.contains("t0ken-in-env"))
        for argument in ["postgresql://u:Pa55/W0rd@host/db", "--bogus=host=h password=Pa55W0rd", "u:Pa55W0rd@host/db"] {
            let ended = try await box.agent("run-once", argument)
            #expect(ended.code == 64 && !ended.errors.contains("Pa55") && !ended.errors.contains("W0rd"), "\(ended)")
        }
    }

    @Test(
        "wrong usage ends with 64 and says how it goes",
        arguments: [
            ["bogus"], ["run", "extra"], ["show"], ["logs"], ["history", "--limit", "0"], ["history", "--limit", "x"],
            ["history", "--status", "odd"], ["run-once", "--nope"], ["retry", "a", "b"],
        ])
    func usage(_ arguments: [String]) async throws {
        let ended = try await box.start(program: [agentBinary] + arguments).ended()
        #expect(ended.code == 64 && ended.output.isEmpty && ended.errors.contains("Usage"), "\(ended)")
    }

    @Test(
        "a mistyped subcommand gets the one that it resembles",
        arguments: [
            ("statsu", "'statsu'; did you mean `status`?"), ("ledger chek", "'chek'; did you mean `check`?"),
            ("tasks lst", "'lst'; did you mean `list`?"), ("tasks --json rety a", "; did you mean `retry`?"),
            ("run-onec", "'run-onec'; did you mean `run-once`?"), ("zzzzzz", nil), ("run status", nil),
            ("show a statsu", nil),
        ] as [(String, String?)])
    func nearSubcommand(line: String, hint: String?) async throws {
        let ended = try await box.start(program: [agentBinary] + line.split(separator: " ").map(String.init)).ended()
        #expect(ended.code == 64 && ended.output.isEmpty, "\(ended)")
        let first = ended.errors.prefix { $0 != "\n" }
        #expect(first.hasSuffix(hint ?? "'") && first.contains("did you mean") == (hint != nil), "\(ended)")
    }

    @Test("a missing git is said in so many words")
    func noGit() async throws {
        let once = try await box.once(["PATH": box.root + "/bin"])
        #expect(once.code != 0 && once.ended.errors.contains("git"), "\(once)")
    }
}

import Foundation
import Glibc
import TestSupport
import Testing

/// Commits that are deployed only when one of a list has signed them.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct SignedCommitTests {
    let box: Box

    init() async throws { box = try await Box() }

    @Test("there is no way back to a commit that nobody has signed", arguments: ["in-place", "symlink"])
    func rollback(mode: String) async throws {
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f key; sed 's/^/a@t /' key.pub > signers")
        let settings = ["AGENT_PUBLISH": mode, "POST_DEPLOY_COMMAND": "echo $DEPLOY_TRIGGER >> $OUT/post"]
        #expect(try await box.once(settings).outcome == "deployed")
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        let signed = ["AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers"]
        let back = try await box.agent("rollback", settings: settings.merging(signed) { $1 })
        #expect(back.code == 1 && back.errors.contains("no signature"), "\(back)")
        #expect(box.text(box.workspace + "/app.txt") == "v2\n" && box.lines("post") == ["manual", "manual"])
        let newest = try #require(try await box.history().first)
        #expect(newest["trigger"].string == "rollback" && newest["status"].string == "failed", "\(newest)")
        #expect(newest["error_message"].string?.contains("no signature") == true && newest["held_commit"].isNull)
        // It has changed nothing.
        #expect(try await box.once(settings).outcome == "unchanged")
        #expect(try await box.agent("rollback", settings: settings).code == 0)
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
    }

    @Test(
        "a list of the wrong kind is said at once",
        arguments: [("ssh", "root:x:0:0::/root:/bin/sh\n"), ("gpg", "a@t ssh-ed25519 AAAA\n")])
    func wrongSigners(kind: String, content: String) async throws {
        try box.write(content, to: box.root + "/signers")
        let settings = ["AGENT_VERIFY_COMMIT": kind, "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers"]
        let once = try await box.once(settings)
        #expect(once.code == 78 && once.ended.errors.contains("AGENT_ALLOWED_SIGNERS_FILE"), "\(once)")
        #expect(try await box.history().isEmpty)
    }

    @Test(
        "an unsigned commit is not staged, not run, its spec is not read; it is on record as failed until somebody says otherwise",
        arguments: ["in-place", "symlink"])
    func signatures(mode: String) async throws {
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f key; sed 's/^/a@t /' key.pub > signers")
        try box.write("a@t \(box.text(box.root + "/key.pub") ?? "")", to: box.root + "/signers")
        let settings = [
            "AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers",
            "PRE_DEPLOY_COMMAND": "touch $OUT/ran", "AGENT_PUBLISH": mode,
        ]
        try await box.commit([
            "appspec.yaml":
                "name: other\nenvs:\n- {key: AGENT_VERIFY_COMMIT, value: 'off'}\n- {key: POST_DEPLOY_COMMAND, value: touch $OUT/ran}\n"
        ])
        let watched = ["LD_PRELOAD": try await Preload.library, "PRELOAD_ARGUMENTS": box.out + "/arguments"]
        let refused = try await box.once(settings.merging(watched) { $1 })
        #expect(refused.code == 1 && refused.outcome == "failed" && !box.has("ran"), "\(refused)")
        #expect(refused.deployment["app"].string == "ws" && refused.runs.isEmpty)
        // It was looked at, and never checked out.
        let calls = box.lines("arguments")
        #expect(calls.contains { $0.contains("verify-commit") }, "\(calls)")
        #expect(!calls.contains { $0.contains("separate-git-dir") || $0.contains("checkout") }, "\(calls)")
        #expect(refused.deployment["error_message"].string?.contains("no signature") == true)
        #expect(!FileManager.default.fileExists(atPath: box.workspace))
        #expect(try await box.once(settings).outcome == "unchanged")
        // By hand neither.
        try await box.sh("git clone -q up.git own")
        try box.write("version: 1\ntasks:\n- {id: a-v1, command: touch $OUT/ran}\n", to: box.root + "/own/deploy.yaml")
        try await box.sh("git add -A; git commit -qm tasks", in: box.root + "/own")
        let own = settings.merging([
            "WORKSPACE_PATH": box.root + "/own", "GITHUB_REPO_URL": "", "AGENT_PUBLISH": "in-place",
        ]) { $1 }
        let byHand = try await box.agent("tasks", "run", settings: own)
        #expect(byHand.code != 0 && !box.has("ran") && byHand.errors.contains("signature"), "\(byHand)")
        let files = try await box.sh("find state -name 'appspec.yaml' -o -name stage")
        #expect(files.isEmpty)
        // `agent retry` asks again.
        #expect(try await box.agent("retry", settings: settings).code == 0)
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh(
            "git -c gpg.format=ssh -c user.signingKey=../key commit -q --allow-empty -S -m signed; git push -q origin HEAD:main",
            in: box.work)
        let good = try await box.once(settings)
        #expect(good.outcome == "deployed" && box.has("ran"), "\(good)")
        // What was signed by another is refused as well, and so is a hook's repository without a signature.
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f other")
        try await box.sh(
            "git -c gpg.format=ssh -c user.signingKey=../other commit -q --allow-empty -S -m forged; git push -q origin HEAD:main",
            in: box.work)
        #expect(try await box.once(settings).outcome == "failed")
        try await box.sh(
            "git reset -q --hard HEAD~1; git push -q -f origin HEAD:main; git init -q -b main ../jobs; git -C ../jobs commit -q --allow-empty -m job",
            in: box.work)
        let hook = try await box.once(
            settings.merging(["PRE_DEPLOY_REPO_URL": "file://\(box.root)/jobs"]) { $1 }, force: true)
        #expect(hook.outcome == "failed" && hook.runs[0]["status"].string == "failed", "\(hook)")
        #expect(hook.runs[0]["error_message"].string?.contains("no signature") == true, "\(hook)")
        try await box.sh(
            "git -C ../jobs -c gpg.format=ssh -c user.signingKey=$PWD/../key commit -q --allow-empty -S -m signed",
            in: box.work)
        let signedHook = try await box.once(
            settings.merging(["PRE_DEPLOY_REPO_URL": "file://\(box.root)/jobs"]) { $1 }, force: true)
        #expect(signedHook.outcome == "deployed" && signedHook.runs[0]["status"].string == "succeeded", "\(signedHook)")
    }

    @Test(
        "of gpg signatures those of the keys in the file count: an unsigned commit, or another's, is not staged, not run"
    )
    func gpgSignatures() async throws {
        try await box.sh(
            """
            for k in mine other; do
                mkdir -m 700 $k
                gpg --homedir $k --batch --quiet --pinentry-mode loopback --passphrase '' \
                    --quick-gen-key $k@t ed25519 sign never 2> /dev/null
                gpg --homedir $k --armor --export $k@t > $k.asc
                printf '#!/bin/sh\\nexec gpg --homedir %s/%s "$@"\\n' "$PWD" $k > as-$k
                chmod +x as-$k
            done
            """)
        func commit(_ who: String) async throws -> String {
            try await box.sh(
                """
                echo \(who) > app.txt
                git -c gpg.program=../as-\(who) -c user.signingKey=\(who)@t commit -qaS -m signed
                git push -q origin HEAD:main; git rev-parse HEAD
                """, in: box.work)
        }
        let settings = [
            "AGENT_VERIFY_COMMIT": "gpg", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/mine.asc",
            "PRE_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/pre",
        ]
        let unsigned = try await box.once(settings)
        #expect(unsigned.code == 1 && unsigned.outcome == "failed" && unsigned.runs.isEmpty, "\(unsigned)")
        let other = try await commit("other")
        let refused = try await box.once(settings)
        #expect(refused.outcome == "failed" && refused.deployment["commit"].string == other, "\(refused)")
        #expect(!FileManager.default.fileExists(atPath: box.workspace) && !box.has("pre"))
        let mine = try await commit("mine")
        try await box.sh("for k in mine other; do gpgconf --homedir $k --kill all; done")
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(box.lines("pre") == [mine])
    }

    @Test("a list of signers that changes counts at the next check, for the spec of the commit that is there, too")
    func signers() async throws {
        try await box.sh(
            "for k in a b; do ssh-keygen -q -t ed25519 -N '' -f $k; sed 's/^/a@t /' $k.pub > signers-$k; done")
        try box.write("envs:\n- {key: GITHUB_BRANCH, value: next}\n", to: box.work + "/appspec.yaml")
        try await box.sh(
            """
            sign() { git -c gpg.format=ssh -c user.signingKey=../a commit -q --allow-empty -S -m signed; }
            git add -A; sign; git push -q origin HEAD:main; sign; git push -q origin HEAD:next
            """, in: box.work)
        let next = try await box.head(of: box.work)
        try await box.sh("cp signers-a signers")
        let settings = [
            "AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers", "GITHUB_BRANCH": "",
            "GITHUB_SYNC_INTERVAL": "100ms",
        ]
        // The signed spec says which branch is followed.
        let agent = try box.start("run", settings: settings)
        try await until("the spec's branch is followed", details: { agent.errors }) {
            let status = try await box.json("status", settings: settings)
            return status["last_deployment"]["commit"].string == next
                && status["last_deployment"]["status"].string == "succeeded"
        }
        // What a commit says that nobody of the list has signed does not count: back to the default branch, refused.
        try await box.sh("cp signers-b signers.new; mv signers.new signers")
        try await until("the spec counts no more", details: { agent.errors }) {
            let latest = try await box.history()[0]
            return latest["commit"].string != next && latest["status"].string == "failed"
        }
    }

    @Test("a signature that this machine cannot check is no verdict: the commit is tried again")
    func machine() async throws {
        try await box.sh("ssh-keygen -q -t ed25519 -N '' -f key; printf 'a@t ' > signers; cat key.pub >> signers")
        try await box.sh(
            "git -c gpg.format=ssh -c user.signingKey=../key commit -q --allow-empty -S -m signed; git push -q origin HEAD:main",
            in: box.work)
        let settings = ["AGENT_VERIFY_COMMIT": "ssh", "AGENT_ALLOWED_SIGNERS_FILE": box.root + "/signers"]
        let full = try await box.once(settings.merging(["TMPDIR": "/nonexistent"]) { $1 })
        #expect(full.code == 1 && full.deployment.isNull, "\(full)")
        #expect(try await box.once(settings).outcome == "deployed")
    }
}

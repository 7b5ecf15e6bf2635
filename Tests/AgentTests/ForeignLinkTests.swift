import Foundation
import Glibc
import TestSupport
import Testing

/// A symbolic link of another tool where the agent's is to be.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct ForeignLinkTests {
    let box: Box

    init() async throws { box = try await Box() }

    private let settings = ["AGENT_PUBLISH": "symlink"]
    private var adopting: [String: String] { settings.merging(["AGENT_ADOPT_LINK": "true"]) { $1 } }

    private var target: String? { try? FileManager.default.destinationOfSymbolicLink(atPath: box.workspace) }

    /// How such links come about, what of it is told, and what is left behind.
    enum Made: String, CaseIterable, Sendable {
        case relative = "mkdir -p wt/abc; echo old > wt/abc/f; ln -s wt/abc ws"
        case absolute = "mkdir -p wt/abc; echo old > wt/abc/f; ln -s $PWD/wt/abc ws"
        case dangling = "mkdir wt; ln -s wt/gone ws"
        case file = "mkdir wt; echo old > wt/file; ln -s wt/file ws"
        case checkout = "git clone -q up.git wt; ln -s wt ws"
        /// As git-sync makes them.
        case workTree =
            "git clone -q --bare up.git store.git; commit=$(git -C store.git rev-parse main); mkdir wt; git -C store.git worktree add -q --detach $PWD/wt/$commit $commit; ln -s wt/$commit ws"
        /// As Capistrano makes them, with the commit in place of the time.
        case releases =
            "commit=$(git -C up.git rev-parse main); mkdir -p wt/releases/$commit; echo old > wt/releases/$commit/f; ln -s wt/releases/$commit ws"
        case chain = "mkdir -p wt/abc; echo old > wt/abc/f; ln -s wt/abc other; ln -s other ws"
    }

    @Test("is refused before anything runs, with the link, what it points to, and what to do", arguments: Made.allCases)
    func refused(made: Made) async throws {
        try await box.sh(made.rawValue)
        let before = try await box.fingerprint(box.root + "/wt")
        let link = try #require(target)
        let hooks = settings.merging(["PRE_DEPLOY_COMMAND": "touch $OUT/ran"]) { $1 }
        let ended = try await box.agent("run-once", settings: hooks)
        #expect(ended.code == 78 && !box.has("ran"), "\(ended)")
        let check = try await box.agent("check", settings: hooks)
        for text in [ended.errors, check.errors] {
            #expect(
                text.contains("WORKSPACE_PATH: \(box.workspace) is a symbolic link to \(link)")
                    && text.contains("AGENT_ADOPT_LINK=true"), "\(text)")
        }
        #expect(target == link)
        #expect(try await box.fingerprint(box.root + "/wt") == before)
    }

    @Test("is replaced when that is asked for; what it pointed to stays as it is", arguments: Made.allCases)
    func adopted(made: Made) async throws {
        try await box.sh(made.rawValue)
        let before = try await box.fingerprint(box.root + "/wt")
        let check = try await box.agent("check", settings: adopting)
        #expect(check.code == 0, "\(check)")
        #expect(check.errors.contains("\(box.workspace) is a symbolic link to"), "\(check)")
        let once = try await box.once(
            adopting.merging(["PRE_DEPLOY_COMMAND": "readlink \"$DEPLOY_WORKSPACE\" > $OUT/before"]) { $1 })
        #expect(once.outcome == "deployed", "\(once)")
        #expect(box.lines("before").first?.contains("state") == false, "it was replaced before PRE_DEPLOY")
        #expect(target?.hasPrefix("state/workspaces/") == true, "\(target ?? "")")
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        #expect(try await box.fingerprint(box.root + "/wt") == before)
        // From then on it is the agent's own, and need not be asked for.
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(box.text(box.workspace + "/app.txt") == "v2\n")
        #expect(try await box.history().count == 2)
        #expect(try await box.fingerprint(box.root + "/wt") == before)
    }

    @Test("a reader never finds nothing, or half of something, while it is replaced")
    func reader() async throws {
        try await box.sh("mkdir wt; cp dev/app.txt wt; ln -s wt ws")
        try box.install(
            "look",
            "while ! test -e $OUT/stop; do cat \(box.workspace)/app.txt >> $OUT/seen 2>&1 || echo gone >> $OUT/seen; done"
        )
        let reader = try box.start(program: [box.root + "/bin/look"])
        try await until("it reads") { box.lines("seen").count > 10 }
        #expect(try await box.once(adopting).outcome == "deployed")
        let seen = box.lines("seen").count
        try await until("it reads on") { box.lines("seen").count > seen + 10 }
        try box.touch("stop")
        _ = try await reader.ended()
        #expect(Set(box.lines("seen")) == ["v1"])
    }

    @Test("a PRE_DEPLOY that fails leaves it")
    func failure() async throws {
        try await box.sh(Made.relative.rawValue)
        let once = try await box.once(adopting.merging(["PRE_DEPLOY_COMMAND": "exit 1"]) { $1 })
        #expect(once.outcome == "failed" && target == "wt/abc", "\(once)")
    }

    @Test("a link to a release of another state directory is not replaced unasked")
    func otherState() async throws {
        #expect(try await box.once(settings).outcome == "deployed")
        let link = try #require(target)
        let other = settings.merging(["AGENT_STATE_DIR": box.root + "/state2"]) { $1 }
        let refused = try await box.agent("run-once", settings: other)
        #expect(
            refused.code == 78 && refused.errors.contains(link) && refused.errors.contains("AGENT_STATE_DIR"),
            "\(refused)")
        #expect(target == link)
        let check = try await box.agent("check", settings: other)
        #expect(check.errors.contains("AGENT_ADOPT_LINK=true"), "\(check)")
        let once = try await box.once(other.merging(["AGENT_ADOPT_LINK": "true"]) { $1 })
        #expect(once.outcome == "deployed" && target?.hasPrefix("state2/") == true, "\(once)")
        #expect(try await box.sh("cat '\(link)/app.txt'") == "v1")
        // One that is gone is nobody's.
        try await box.sh("rm -rf state2")
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(target?.hasPrefix("state/") == true)
    }

    @Test("no commit's app spec has a link replaced, and one that asks for links says what is missing")
    func byCommit() async throws {
        try await box.sh(Made.relative.rawValue)
        try await box.commit([
            "appspec.yaml":
                "envs:\n- {key: AGENT_PUBLISH, value: symlink}\n- {key: AGENT_ADOPT_LINK, value: \"true\"}\n"
        ])
        let asked = try await box.agent("run-once", settings: settings)
        #expect(asked.code == 78 && target == "wt/abc", "\(asked)")
        try await box.sh("rm -rf wt/abc; git clone -q up.git wt/abc")
        let alone = try await box.agent("run-once")
        #expect(
            alone.code == 78 && alone.errors.contains("\(box.workspace) is a symbolic link to wt/abc")
                && alone.errors.contains("AGENT_PUBLISH=symlink and AGENT_ADOPT_LINK=true in the environment"),
            "\(alone)")
        #expect(target == "wt/abc")
    }

    @Test("in place a link is followed, whatever is asked for", arguments: ["", "true"])
    func inPlace(adopts: String) async throws {
        try await box.sh("mkdir wt; ln -s wt ws")
        #expect(try await box.once(["AGENT_ADOPT_LINK": adopts]).outcome == "deployed")
        #expect(target == "wt" && box.text(box.root + "/wt/app.txt") == "v1\n")
    }

    @Test("a link to the agent's link is another name of the same workspace")
    func otherName() async throws {
        #expect(try await box.once(settings).outcome == "deployed")
        symlink("ws", box.root + "/current")
        let named = settings.merging(["WORKSPACE_PATH": box.root + "/current"]) { $1 }
        #expect(try await box.once(named).outcome == "unchanged")
        try await box.commit(["app.txt": "v2\n"])
        #expect(try await box.once(named).outcome == "deployed")
        #expect(try await box.sh("readlink current") == "ws" && box.text(box.workspace + "/app.txt") == "v2\n")
    }

    @Test("a wrong value is an error")
    func wrong() async throws {
        let check = try await box.agent("check", settings: ["AGENT_ADOPT_LINK": "maybe"])
        #expect(check.code == 78 && check.errors.contains("AGENT_ADOPT_LINK: \"maybe\""), "\(check)")
    }
}

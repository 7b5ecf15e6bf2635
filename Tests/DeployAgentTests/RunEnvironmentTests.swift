import Ledger
import Shell
import Testing

@testable import DeployAgent
@testable import Execution

@Suite struct RunEnvironmentTests {
    private let context = CommitContext(
        commit: "0123456789abcdef0123456789abcdef01234567", previousCommit: nil, ref: "main", trigger: .poll,
        deployment: 12, workspace: "/srv/app")
    private let run = Run(
        id: 34,
        draft: RunDraft(
            kind: .hook, name: "PRE_DEPLOY", parent: .deployment(12),
            place: Scope(app: "app", host: "h", workspace: "/srv/app"), marker: "m", command: "true", folder: ".",
            mode: "strict", timeout: .seconds(1), attempt: 2, startedAt: .now))

    private func entries(
        _ context: CommitContext? = nil, exports: [String: String] = [:], inherited environment: [[UInt8]] = []
    ) -> [[UInt8]] {
        let variables = (context ?? self.context).runContext(["DEPLOY_HOOK": "PRE_DEPLOY"]).variables(of: run)
        return RunEnvironment.entries(
            variables, exports: exports, environment: ProcessEnvironment(entries: environment))
    }

    private func texts(_ entries: [[UInt8]]) -> Set<String> { Set(entries.map { String(decoding: $0, as: UTF8.self) }) }
    private func bytes(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }

    @Test("whoever prints it prints no variable of it, as text or as bytes")
    func printed() {
        let value = (environment: ProcessEnvironment(["TOKEN": "hunter2"]), secrets: Secrets(["hunter2"]))
        var dumped = ""
        dump(value, to: &dumped)
        for text in ["\(value)", dumped] {
            #expect(!text.contains("hunter2") && !text.contains("104") && !text.contains("TOKEN"), "\(text)")
        }
    }

    @Test("a hook is told about its deployment; what is not known is empty, not missing")
    func variables() {
        #expect(
            texts(entries()) == [
                "DEPLOY_COMMIT=0123456789abcdef0123456789abcdef01234567", "DEPLOY_COMMIT_SHORT=0123456",
                "DEPLOY_PREVIOUS_COMMIT=", "DEPLOY_REF=main", "DEPLOY_HOOK=PRE_DEPLOY", "DEPLOY_ATTEMPT=2",
                "DEPLOY_TRIGGER=poll", "DEPLOY_ID=12", "DEPLOY_RUN_ID=34", "DEPLOY_WORKSPACE=/srv/app", "DEPLOY_FENCE=",
            ])
        var context = context
        context.ref = nil
        context.previousCommit = "fedcba"
        #expect(texts(entries(context)).isSuperset(of: ["DEPLOY_REF=", "DEPLOY_PREVIOUS_COMMIT=fedcba"]))
    }

    @Test("the process environment is passed on byte for byte, the agent's own settings are not")
    func inherited() {
        let raw = Array("RAW=".utf8) + [0xFF, 0xFE]
        let kept = bytes("PATH=/bin", "EMPTY=", "A=b=c", "LINES=x\ny", "MY_AGENT_X=1") + [raw]
        let result = entries(inherited: kept + bytes("AGENT_LEDGER_URL=postgresql://x", "AGENT_=", "AGENT_APP=x"))
        #expect(Array(result.prefix(kept.count)) == kept && result.count == kept.count + 11)
    }

    @Test("entries that no program could have set are left out")
    func malformed() {
        #expect(entries(inherited: bytes("no equals sign", "=nothing", "1A=x", "")).count == 11)
    }

    @Test("the app spec's variables are added, the agent's own among them are not")
    func exports() {
        let texts = texts(
            entries(exports: ["KEY": "value", "AGENT_X": "1", "PATH": "/spec"], inherited: bytes("OTHER=o")))
        #expect(texts.isSuperset(of: ["KEY=value", "PATH=/spec", "OTHER=o"]) && !texts.contains("AGENT_X=1"))
    }

    @Test(
        "what a git that started the agent says of its repository is not passed on, unless the app spec asks for it",
        arguments: ["GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS", "GIT_QUARANTINE_PATH", "GIT_NAMESPACE"])
    func repository(name: String) {
        let inherited = bytes("\(name)=/elsewhere", "GIT_AUTHOR_NAME=Ada", "GIT_SSH_COMMAND=ssh -4")
        let texts = texts(entries(inherited: inherited))
        #expect(!texts.contains("\(name)=/elsewhere"))
        #expect(texts.isSuperset(of: ["GIT_AUTHOR_NAME=Ada", "GIT_SSH_COMMAND=ssh -4"]))
        let asked = self.texts(entries(exports: [name: "/asked"], inherited: inherited))
        #expect(asked.contains("\(name)=/asked") && !asked.contains("\(name)=/elsewhere"))
    }

    @Test("configuration that the operator gives to git by the environment reaches hooks; below a git it does not")
    func configuration() {
        let given = bytes("GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
        #expect(Array(entries(inherited: given).prefix(3)) == given)
        #expect(!texts(entries(inherited: given + bytes("GIT_DIR=."))).contains { $0.hasPrefix("GIT_") })
    }

    @Test("nobody but the agent says what its DEPLOY_ variables hold, and each is there once")
    func overridden() {
        let inherited = bytes("DEPLOY_COMMIT=outer", "DEPLOY_ID=outer", "DEPLOY_RUN_UUID=outer", "DEPLOY_OWN=mine")
        let all = entries(exports: ["DEPLOY_ID": "spec"], inherited: inherited)
        #expect(all.count == 12 && texts(all).isSuperset(of: ["DEPLOY_ID=12", "DEPLOY_OWN=mine"]))
        #expect(!texts(all).contains("DEPLOY_COMMIT=outer") && !texts(all).contains("DEPLOY_RUN_UUID=outer"))
    }

    @Test("an agent within a hook hands on nothing of what the outer one says of its own run")
    func outer() {
        let inherited = bytes(
            "DEPLOY_FAILED_HOOK=PRE_DEPLOY", "DEPLOY_TASK=t", "DEPLOY_CHANGED_FILES=/x", "DEPLOY_OWN=1")
        let texts = texts(entries(inherited: inherited))
        #expect(texts.contains("DEPLOY_OWN=1") && texts.count == 12, "\(texts)")
    }

    @Test("what is withheld is left out, from the process environment and from the app spec")
    func withheld() {
        let result = RunEnvironment.entries(
            ["A": "own"], exports: ["NOTIFY_URL": "x", "B": "spec"],
            environment: ProcessEnvironment(["GITHUB_TOKEN": "t", "C": "c"]), without: ["GITHUB_TOKEN", "NOTIFY_URL"])
        #expect(texts(result) == ["A=own", "B=spec", "C=c"])
    }

    @Test(
        "a variable that is empty counts as not set, and a value may hold equals signs",
        arguments: [
            ("A=b", "A", "b"), ("A=", "A", nil), ("A=b=c", "A", "b=c"), ("AB=c", "A", nil), ("garbage", "garbage", nil),
        ] as [(String, String, String?)])
    func value(entry: String, name: String, expected: String?) {
        #expect(ProcessEnvironment(entries: [Array(entry.utf8)])[name] == expected)
    }
}

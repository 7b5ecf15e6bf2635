import Foundation
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct HelpTests {
    static let commands = [
        "", "run", "run-once", "exec", "status", "history", "show", "logs", "fleet", "retry", "rollback", "check",
    ]
    /// Commands that only have commands of their own, and these.
    static let groups = ["ledger", "tasks"]
    static let nested = [
        "ledger copy", "ledger check", "tasks list", "tasks run", "tasks done", "tasks retry", "tasks reset",
    ]

    private static let golden = packageRoot + "/Tests/AgentTests/Golden"

    let box: Box

    init() async throws { box = try await Box() }

    private func run(_ arguments: [String]) async throws -> Ended {
        try await box.start(program: [agentBinary] + arguments, ["COLUMNS": "80"]).ended()
    }

    private func help(_ command: String) async throws -> Ended {
        try await run(command.split(separator: " ").map(String.init) + ["--help"])
    }

    /// `AGENT_RECORD_GOLDEN=1` writes the files anew.
    @Test("--help says what is on file", arguments: commands + groups + nested)
    func golden(_ command: String) async throws {
        let ended = try await help(command)
        #expect(ended.code == 0 && ended.errors.isEmpty)
        let path = "\(Self.golden)/\(command.isEmpty ? "agent" : command.replacing(" ", with: "-")).txt"
        if ProcessInfo.processInfo.environment["AGENT_RECORD_GOLDEN"] == "1" {
            try ended.output.write(toFile: path, atomically: true, encoding: .utf8)
        }
        let expected = FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
        #expect(ended.output == expected, "run the tests with AGENT_RECORD_GOLDEN=1 when the change is meant")
    }

    @Test("every command that the specification names is in --help, and each has an example")
    func complete() async throws {
        let overview = try await run(["--help"]).output
        #expect(Self.groups.allSatisfy { overview.contains("\n  \($0) ") })
        for command in Self.commands.dropFirst() + Self.nested {
            #expect(overview.contains("\n  \(command) ") || Self.nested.contains(command), "\(command)")
            let help = try await help(command).output
            #expect(help.contains("Example:"), "\(command)")
            for option in ["--workspace", "--appspec", "--state-dir", "--ledger", "--log-format", "--log-level"] {
                #expect(help.contains(option), "\(command) \(option)")
            }
        }
        let words = Set(overview.split { !$0.isNumber && !$0.isLetter })
        #expect(words.isSuperset(of: ["0", "1", "64", "69", "75", "78"]), "not every exit code is explained")
    }

    @Test("--version prints a version")
    func version() async throws {
        let ended = try await run(["--version"])
        #expect(ended.code == 0 && ended.output.wholeMatch(of: /\d+\.\d+\.\d+\S*\n/) != nil, "\(ended)")
    }

    @Test("completion scripts are made and the shell accepts them", arguments: ["bash", "zsh", "fish"])
    func completion(_ shell: String) async throws {
        let ended = try await run(["--generate-completion-script", shell])
        #expect(
            ended.code == 0 && Self.commands.dropFirst().allSatisfy { ended.output.contains($0) }
                && ended.output.contains("state-dir"))
        if shell == "bash" {
            try box.write(ended.output, to: box.root + "/completion")
            try await box.sh("bash -n completion")
        }
    }

    @Test("README and manual page name every setting")
    func settings() async throws {
        let names = try await box.json("check")["settings"].items.compactMap { $0["name"].string }
        #expect(names.count > 40)
        let readme = try String(contentsOfFile: packageRoot + "/README.md", encoding: .utf8)
        let page = try String(contentsOfFile: packageRoot + "/docs/agent.1", encoding: .utf8)
        #expect(names.filter { !readme.contains("`\($0)`") } == [])
        // The page has the hooks' settings once.
        #expect(
            names.filter { !page.contains($0.replacing("POST_DEPLOY_", with: "PRE_DEPLOY_")) && !page.contains($0) }
                == [])
    }

    @Test(
        "docs/agent.1 has every option",
        .enabled(
            if: FileManager.default.fileExists(atPath: packageRoot + "/docs/agent.1"), "there is no manual page yet"),
        arguments: commands + groups + nested)
    func manual(_ command: String) async throws {
        let page = String(
            decoding: FileManager.default.contents(atPath: packageRoot + "/docs/agent.1") ?? Data(), as: UTF8.self
        )
        .replacingOccurrences(of: "\\-", with: "-")
        let help = try await help(command).output
        for option in help.matches(of: /--[a-z][a-z-]+/) {
            #expect(page.contains(option.output), "\(command) \(option.output)")
        }
        #expect(command.isEmpty || page.contains(command))
    }
}

import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct OutputTests {
    let box: Box

    init() async throws { box = try await Box() }

    private static let tenMebibytes = 10 * 1024 * 1024

    @Test(
        "100 MB of output in one line, or of binary rubbish, or in short lines, cost little memory and at most 10 MiB of log",
        arguments: [
            "head -c 100000000 /dev/zero | tr '\\0' 'x'",
            "head -c 100000000 /dev/urandom",
            "yes 0123456789012345678901234567890123456789 | head -c 100000000",
        ])
    func hugeOutput(_ printing: String) async throws {
        let agent = try box.start(
            "run-once", "--json", settings: ["POST_DEPLOY_COMMAND": "printf FIRST; \(printing); printf LAST"])
        agent.watchMemory()
        let ended = try await agent.ended()
        #expect(ended.code == 0)
        #expect(agent.peakMemory > 1000 && agent.peakMemory < 60 * 1024, "\(agent.peakMemory) KiB at most")
        let run = try JSON(ended.output)["deployment"]["runs"][0]
        let tail = try #require(run["output_tail"].string)
        #expect(tail.utf8.count <= 64 * 1024 && tail.hasSuffix("LAST"))
        let path = try #require(run["log"].string)
        let log = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(log.count <= Self.tenMebibytes && log.count > Self.tenMebibytes - 4096, "\(log.count) bytes")
        #expect(log.prefix(5) == Data("FIRST".utf8) && log.suffix(4) == Data("LAST".utf8))
        let middle = String(decoding: log.subdata(in: log.count / 2 - 200..<log.count / 2 + 400), as: UTF8.self)
        let numbers = middle.split { !$0.isNumber }.compactMap { Int($0) }
        let kept =
            log.count - (middle.split(separator: "\n").first { $0.contains("missing") }.map { $0.utf8.count + 2 } ?? 0)
        #expect(
            middle.contains("missing") && numbers.contains(100_000_009 - kept),
            "does not say how much is missing: \(middle)")
    }

    @Test("lines that are empty, which grow most in the agent's log, cost little memory too")
    func emptyLines() async throws {
        let agent = try box.start(
            "run-once", settings: ["POST_DEPLOY_COMMAND": "head -c 600000 /dev/zero | tr '\\0' '\\n'"])
        agent.watchMemory()
        let ended = try await agent.ended()
        #expect(ended.code == 0)
        #expect(agent.peakMemory > 1000 && agent.peakMemory < 60 * 1024, "\(agent.peakMemory) KiB at most")
        let lines = ended.errors.split(separator: "\n").count { $0.hasSuffix("[POST_DEPLOY] ") }
        #expect(lines == 600_000)
    }

    @Test("binary output without a newline is in the log byte for byte and in valid JSON")
    func binary() async throws {
        let once = try await box.once([
            "POST_DEPLOY_COMMAND":
                "head -c 300000 /dev/urandom | tee $OUT/copy; printf '\\000\\377\\303' | tee -a $OUT/copy"
        ])
        #expect(once.outcome == "deployed", "\(once)")
        let log = try #require(once.runs.first?["log"].string)
        #expect(FileManager.default.contents(atPath: log) == FileManager.default.contents(atPath: box.out + "/copy"))
        #expect((once.runs.first?["output_tail"].string?.utf8.count ?? .max) <= 64 * 1024)
        let json = try await box.agent("show", "1", "--json")
        #expect((try? JSON(json.output)) != nil)
        let logs = try box.start(program: [agentBinary, "logs", "\(once.runs[0]["id"])"])
        #expect(try await logs.ended().code == 0)
        #expect(
            FileManager.default.contents(atPath: logs.folder + "/out")
                == FileManager.default.contents(atPath: box.out + "/copy"))
    }

    @Test("what a hook's own filter prints once the hook has ended is kept", arguments: [0, 3])
    func filter(code: Int) async throws {
        let once = try await box.once([
            "POST_DEPLOY_COMMAND":
                // Of builtins: what the filter has for its end is a second, and its time alone counts.
                "mkfifo pause; exec > >(: > up; mapfile -t l; read -rt 0.2 -u 3 3<> pause; printf '%s\\n' \"${l[@]^^}\"); until [ -e up ]; do :; done; echo why; exit \(code)"
        ]
        )
        #expect(once.runs.first?["output_tail"].string == "WHY\n" && once.ended.errors.contains("[POST_DEPLOY] WHY\n"))
        let log = try #require(once.runs.first?["log"].string)
        #expect(box.text(log) == "WHY\n")
    }

    @Test("output up to 10 MiB is kept whole")
    func exactlyTheLimit() async throws {
        let once = try await box.once([
            "POST_DEPLOY_COMMAND": "head -c \(Self.tenMebibytes) /dev/urandom | tee $OUT/copy"
        ])
        let log = try #require(once.runs.first?["log"].string)
        #expect(FileManager.default.contents(atPath: log) == FileManager.default.contents(atPath: box.out + "/copy"))
    }

    @Test("each line is in the agent's log while the hook still runs, and the log file is its user's only")
    func streamed() async throws {
        let agent = try box.start(
            "run-once",
            settings: [
                "PRE_DEPLOY_COMMAND": "echo one; echo two >&2; printf three; " + Hooks.await_("go") + "echo; echo four"
            ])
        try await until("the first two lines are in the log", within: 20, details: { agent.errors }) {
            agent.errors.contains("[PRE_DEPLOY] one\n") && agent.errors.contains("[PRE_DEPLOY] two\n")
        }
        #expect(agent.code == nil)
        try box.touch("go")
        let ended = try await agent.ended()
        #expect(
            ended.errors.contains("[PRE_DEPLOY] three\n") && ended.errors.contains("[PRE_DEPLOY] four\n"), "\(ended)")
        let id = try await box.json("show", "1")["runs"][0]["id"]
        #expect(box.text("\(box.state)/logs/\(id).log") == "one\ntwo\nthree\nfour\n")
        #expect(try await box.sh("stat -c '%a' state/logs/\(id).log") == "600")
        #expect(
            try await box.sh("stat -c %a state state/logs state/workspaces state/ledger.sqlite") == "700\n700\n700\n600"
        )
    }

    @Test("`logs --follow` prints what a running hook prints, and ends with it")
    func follow() async throws {
        let agent = try box.start(
            "run-once", settings: ["PRE_DEPLOY_COMMAND": "echo early; \(Hooks.await_("go")) seq 1000; echo end"])
        try await until("the hook prints") { agent.errors.contains("early") }
        let id = try await box.json("show", "1")["runs"][0]["id"]
        let follower = try box.start("logs", "\(id)", "--follow")
        try await until("the follower has the first line", within: 20) { follower.output.contains("early\n") }
        #expect(try await box.agent("logs", "\(id)").output == "early\n", "without --follow it prints what there is")
        #expect(follower.code == nil)
        try box.touch("go")
        let followed = try await follower.ended(within: 20)
        #expect(
            followed.code == 0 && followed.output.hasSuffix("1000\nend\n")
                && followed.output.split(separator: "\n").count == 1002, "\(followed)")
        #expect(try await agent.ended().code == 0)
    }

    @Test("`logs` of a run whose file is gone prints what the record has; of an unknown run it fails")
    func logsWithoutFile() async throws {
        let once = try await box.once(["POST_DEPLOY_COMMAND": "echo hello"])
        let run = try #require(once.runs.first)
        unlink(try #require(run["log"].string))
        #expect(try await box.agent("logs", "\(run["id"])").output == "hello\n")
        let unknown = try await box.agent("logs", "4711")
        #expect(unknown.code == 1 && unknown.output.isEmpty && unknown.errors.contains("4711"), "\(unknown)")
        #expect(try await box.agent("logs", "abc").code == 64)
    }

    @Test(
        "an output that nobody reads any more does not stop the work",
        arguments: ["| head -c 100", ">/dev/full", ">&-"])
    func logIsGone(_ redirection: String) async throws {
        let ended = try await box.start(
            program: ["/bin/bash", "-c", "\(agentBinary) run-once 2>&1 \(redirection)"],
            ["POST_DEPLOY_COMMAND": "seq 100000; touch $OUT/done"]
        ).ended()
        #expect(box.has("done"), "\(ended)")
        #expect(try await box.history().first?["status"].string == "succeeded")
    }

    @Test("JSON log lines are valid whatever a hook prints")
    func jsonLog() async throws {
        let ended = try await box.agent(
            "run-once", "--log-format", "json",
            settings: [
                "POST_DEPLOY_COMMAND":
                    "printf 'q\" b\\\\ t\\t r\\r e\\033[1m n\\000 u\\377 \\xe2\\x80\\xa8 end'; head -c 20000 /dev/urandom"
            ])
        let lines = ended.errors.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        #expect(!lines.isEmpty)
        for line in lines {
            let json = try? JSON(String(line))
            #expect(
                json?["message"].string != nil && json?["time"].string != nil && json?["level"].string != nil,
                "\(line.prefix(200))")
        }
    }

    @Test("every JSON line of a deployment says which commit, deployment and run it is of; text does not repeat that")
    func jsonKeys() async throws {
        let settings = ["POST_DEPLOY_COMMAND": "echo hello"]
        let ended = try await box.agent("run-once", "--log-format", "json", settings: settings)
        let lines = try ended.errors.split(separator: "\n").map { try JSON(String($0)) }
        let commit = try await box.head()
        let output = try #require(lines.first { $0["message"].string == "hello" })
        #expect(
            output["commit"].string == commit && output["deployment_id"].int == 1 && output["run_id"].int == 1
                && output["hook"].string == "POST_DEPLOY" && output["stream"].string == "output", "\(output)")
        let event = try #require(lines.first { $0["message"].string?.hasPrefix("POST_DEPLOY succeeded") == true })
        #expect(
            event["commit"].string == commit && event["deployment_id"].int == 1 && event["run_id"].int == 1
                && event["hook"].string == "POST_DEPLOY" && event["stream"] == .missing, "\(event)")
        let end = try #require(lines.first { $0["message"].string?.hasPrefix("deployed") == true })
        #expect(end["deployment_id"].int == 1 && end["run_id"] == .missing, "\(end)")
        let text = try await box.agent("run-once", "--force", settings: settings)
        #expect(!text.errors.contains("deployment_id") && !text.errors.contains("commit="), "\(text)")
    }
}

import Foundation
import Glibc
import Ledger
import LedgerPostgres
import TestSupport
import Testing

/// `agent fleet` and what else shows the work of many hosts.
@Suite(.timeLimit(.minutes(3)), .fewAtOnce)
struct FleetTests {
    let box: Box
    private let schema = uniqueText()

    init() async throws { box = try await Box() }

    private static let old = String(repeating: "a", count: 40)
    private static let new = String(repeating: "b", count: 40)

    private func settings(_ more: [String: String] = [:]) async throws -> [String: String] {
        try await SharedPostgres.settings(schema: schema)
            .merging(["AGENT_APP": "shop", "AGENT_HOST": "web1", "GITHUB_TOKEN": "token4711"]) { $1 }
            .merging(more) { $1 }
    }

    private func scope(_ host: String) -> Scope { Scope(app: "shop", host: host, workspace: box.workspace) }

    private func note(
        _ store: PostgresLedger, _ host: String, target: String, outcome: String = "unchanged",
        problem: String? = nil, isStopping: Bool = false
    ) async throws {
        _ = try await store.note(
            Presence(
                scope: scope(host), instance: "process of \(host)", version: "1", ref: "main", target: target,
                outcome: outcome, problem: problem, interval: .seconds(30), isStopping: isStopping))
    }

    /// A deployment on a host, ended or under way.
    @discardableResult
    private func deploy(
        _ store: PostgresLedger, _ host: String, _ commit: String, _ status: DeploymentStatus,
        errorMessage: String? = nil
    ) async throws -> Int64 {
        let id = try await store.begin(
            DeploymentDraft(
                scope: scope(host), commit: commit, subject: "subject", author: "Ada", ref: "main",
                previousCommit: nil, trigger: .poll, attempt: 1, series: nil, startedAt: .now), firstRun: nil
        ).deployment.id
        guard status != .running else { return id }
        try await store.write([
            .completeDeployment(
                id,
                DeploymentResult(
                    status: status, settled: status == .succeeded, warnings: 0, completedAt: .now,
                    errorMessage: errorMessage))
        ])
        return id
    }

    private func draft(_ deployment: Int64, _ host: String, name: String = "PRE_DEPLOY") -> RunDraft {
        RunDraft(
            kind: .hook, name: name, parent: .deployment(deployment), place: scope(host), marker: uniqueText(),
            command: "true", folder: ".", mode: "strict", timeout: .seconds(300), attempt: 1, startedAt: .now,
            scope: .fleet)
    }

    private func claim(_ store: PostgresLedger, _ host: String, _ deployment: Int64) async throws -> (Lease, Run) {
        let answer = try await store.claim(
            ClaimRequest(
                scope: scope(host), commit: Self.new, holder: "process of \(host)", run: draft(deployment, host),
                retries: nil, isLenient: false, ignoresBackoff: false, isForced: false))
        guard case .granted(let lease, let run, _) = answer else { throw PreparationFailed("\(answer)") }
        return (lease, run)
    }

    /// Six hosts: one current, one that lags, one that deploys under a lease, one failed, one silent, one gone.
    private func makeFleet(_ store: PostgresLedger) async throws {
        for host in ["web1", "web2", "web3", "web4", "web5", "web6"] {
            try await deploy(store, host, Self.old, .succeeded)
        }
        for host in ["web2", "web5", "web6"] { try await note(store, host, target: Self.old) }
        try await SharedPostgres.query(
            """
            UPDATE \(schema).agents SET target_since = target_since - interval '3 days',
            last_seen = last_seen - CASE host WHEN 'web5' THEN interval '1 hour' WHEN 'web6' THEN interval '2 days'
                ELSE interval '0' END
            """)
        try await deploy(store, "web1", Self.new, .succeeded)
        try await note(store, "web1", target: Self.new, outcome: "deployed")
        let deployment = try await deploy(store, "web3", Self.new, .running)
        try await note(store, "web3", target: Self.new)
        _ = try await claim(store, "web3", deployment)
        try await deploy(store, "web4", Self.new, .failed, errorMessage: "PRE_DEPLOY failed: exit code 3")
        try await note(
            store, "web4", target: Self.new, outcome: "failed",
            problem: "\u{1B}[2Jno way\nwith token4711 \(String(repeating: "x", count: 200))")
    }

    @Test("text shows each host in a line, counts first, and who holds which lease")
    func text() async throws {
        let store = try await SharedPostgres.ledger(schema: schema)
        try await makeFleet(store)
        let ended = try await box.agent("fleet", settings: settings())
        #expect(ended.code == 0 && ended.errors.isEmpty, "\(ended)")
        let lines = ended.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(lines[0] == "5 hosts: 1 current, 1 lagging, 1 deploying, 1 failed, 1 silent")
        #expect(lines[1] == "main is at bbbbbbb" && lines[2].isEmpty)
        let columns = lines.map { $0.split(whereSeparator: { $0 == " " }).map(String.init) }
        #expect(columns[3].first == "HOST" && columns[3].last == "CHECK", "\(ended)")
        #expect(
            columns[4...8].map { Array($0.prefix(3)) } == [
                ["web1", "current", "bbbbbbb"], ["web2", "lagging", "aaaaaaa"], ["web3", "deploying", "aaaaaaa"],
                ["web4", "failed", "aaaaaaa"], ["web5", "silent", "aaaaaaa"],
            ], "\(ended)")
        #expect(lines[8].contains("60m ago"), "\(ended)")
        #expect(lines[7].contains("failed:  [2Jno way with *** xx") && lines[7].hasSuffix("x…"), "\(ended)")
        #expect(lines[9] == "and 1 host not seen for a day (--all shows them)")
        #expect(columns[11].first == "LEASE" && columns[12].prefix(4) == ["PRE_DEPLOY", "1", "web3", "bbbbbbb"])
        #expect(lines[12].contains("  in 1") || lines[12].contains("  in 20s"), "\(ended)")
        #expect(!ended.output.contains("\u{1B}") && !ended.output.contains("token4711"))

        let all = try await box.agent("fleet", "--all", settings: settings()).output
        #expect(all.hasPrefix("6 hosts: 1 current, 1 lagging, 1 deploying, 1 failed, 1 silent, 1 gone\n"), "\(all)")
        #expect(all.contains("\nweb6") && !all.contains("--all shows"), "\(all)")
    }

    @Test("JSON has every host's state, the fleet's commit and the leases; those unseen for a day only with --all")
    func json() async throws {
        let store = try await SharedPostgres.ledger(schema: schema)
        try await makeFleet(store)
        try await SharedPostgres.query(
            "UPDATE \(schema).leases SET expires_at = clock_timestamp() - interval '5 s'")
        let fleet = try await box.json("fleet", settings: settings())
        #expect(fleet["app"].string == "shop" && fleet["unseen_hosts"].int == 1)
        #expect(fleet["commits"] == .array([.object(["ref": .string("main"), "commit": .string(Self.new)])]))
        let hosts = fleet["hosts"].items
        #expect(hosts.map { $0["host"].string } == ["web1", "web2", "web3", "web4", "web5"])
        #expect(
            hosts.map { $0["state"].string } == ["current", "lagging", "deploying", "failed", "silent"], "\(hosts)")
        #expect(hosts.map { $0["is_lagging"] } == [.bool(false), .bool(true), .bool(true), .bool(true), .bool(true)])
        #expect(hosts[1]["commit"].string == Self.old && hosts[1]["target"].string == Self.old)
        #expect(hosts[2]["last_deployment"]["completed_at"].isNull)
        #expect(hosts[3]["last_deployment"]["error_message"].string == "PRE_DEPLOY failed: exit code 3")
        #expect(hosts[3]["last_error"].string?.contains("with *** x") == true, "\(hosts[3])")
        #expect((hosts[4]["unseen_ms"].int ?? 0) >= 3_600_000 && hosts[4]["last_seen"].string != nil)
        let lease = fleet["leases"][0]
        #expect(lease["name"].string == "PRE_DEPLOY" && lease["fence"].int == 1 && lease["host"].string == "web3")
        #expect((lease["expires_in_ms"].int ?? 0) <= -5000, "\(lease)")

        let all = try await box.json("fleet", "--all", settings: settings())
        #expect(all["hosts"].items.last?["state"].string == "gone" && all["hosts"].items.count == 6)
        #expect(all["unseen_hosts"].int == 1)
    }

    @Test("one host with two workspaces, and two refs, are told apart; other apps are not shown")
    func columns() async throws {
        let store = try await SharedPostgres.ledger(schema: schema)
        try await note(store, "web1", target: Self.new)
        for (app, workspace, ref) in [("shop", "/srv/other", "next"), ("blog", "/srv/blog", "main")] {
            _ = try await store.note(
                Presence(
                    scope: Scope(app: app, host: "web1", workspace: workspace), instance: "i", version: "1", ref: ref,
                    target: Self.old, outcome: "unchanged", problem: nil, interval: .seconds(30)))
        }
        let output = try await box.agent("fleet", settings: settings()).output
        #expect(output.contains("main is at bbbbbbb\nnext is at aaaaaaa\n"), "\(output)")
        #expect(output.contains("WORKSPACE") && output.contains("REF") && output.contains("/srv/other"), "\(output)")
        #expect(!output.contains("/srv/blog") && output.hasPrefix("2 hosts: 2 lagging\n"), "\(output)")
    }

    @Test("with a ledger of the host's own it is a configuration error that says what is needed")
    func sqlite() async throws {
        for arguments in [["fleet"], ["fleet", "--json"]] {
            let ended = try await box.start(program: [agentBinary] + arguments).ended()
            #expect(ended.code == 78 && ended.output.isEmpty, "\(ended)")
            #expect(ended.errors.contains("AGENT_LEDGER_URL") && ended.errors.contains("PostgreSQL"), "\(ended)")
        }
        #expect(access(box.state, F_OK) != 0)
    }

    @Test("before there is a record the fleet is empty, and none is made")
    func nothingYet() async throws {
        for _ in 0..<2 {
            let fleet = try await box.json("fleet", settings: settings())
            #expect(fleet["hosts"] == .array([]) && fleet["leases"] == .array([]) && fleet["commits"] == .array([]))
            #expect(fleet["app"].string == "shop" && fleet["unseen_hosts"].int == 0)
        }
        let text = try await box.agent("fleet", settings: settings())
        #expect(text.code == 0 && text.output == "no hosts in the record\n", "\(text)")
        #expect(try await !SharedPostgres.ledger(schema: schema).exists())
    }

    @Test("a fleet's run has its number, and one taken over says whose it was")
    func runs() async throws {
        let store = try await SharedPostgres.ledger(schema: schema)
        let first = try await deploy(store, "web2", Self.new, .running)
        let (lease, run) = try await claim(store, "web2", first)
        let result = RunResult(status: .succeeded, exitCode: 0, completedAt: .now, outputTail: "migrated\n")
        let failures = try await store.complete(
            ClaimResult(lease: lease, commit: Self.new, run: run.id, result: result, retryIn: nil))
        #expect(failures == 0)
        let second = try await deploy(store, "web1", Self.new, .running)
        try await store.write([.adoptRun(draft(second, "web1"), of: run.id, result.end)])

        let made = try await box.json("show", "\(first)", settings: settings())["runs"][0]
        #expect(made["scope"].string == "fleet" && made["fence"].int == 1 && made["adopted_run"].isNull, "\(made)")
        let adopted = try await box.json("show", "\(second)", settings: settings())["runs"][0]
        #expect(adopted["scope"].string == "fleet" && adopted["fence"].isNull, "\(adopted)")
        #expect(adopted["adopted_run"].int == Int(run.id), "\(adopted)")
        #expect(try await box.agent("show", "\(first)", settings: settings()).output.contains("fleet, fence 1"))
        let words = "adopted from run \(run.id)"
        #expect(try await box.agent("show", "\(second)", settings: settings()).output.contains(words))
        #expect(try await box.agent("status", settings: settings()).output.contains(words))
        #expect(
            try await box.agent("status", settings: settings(["AGENT_HOST": "web2"])).output.contains("fleet, fence 1"))
    }

    // MARK: - History

    @Test("history --all-hosts lists the app's deployments on every host, also in a ledger of SQLite's")
    func history() async throws {
        for host in ["web1", "web2"] {
            #expect(
                try await box.once([
                    "AGENT_APP": "shop", "AGENT_HOST": host, "WORKSPACE_PATH": box.root + "/" + host,
                ]).outcome == "deployed")
        }
        #expect(try await box.once(["AGENT_APP": "blog", "AGENT_HOST": "web1"]).outcome == "deployed")
        let own = ["AGENT_APP": "shop", "AGENT_HOST": "web1", "WORKSPACE_PATH": box.root + "/web1"]
        #expect(try await box.json("history", settings: own).items.map { $0["host"].string } == ["web1"])
        let all = try await box.json("history", "--all-hosts", settings: own).items
        #expect(all.map { $0["host"].string } == ["web2", "web1"])
        #expect(try await box.json("history", "--all-hosts", "--limit", "1", settings: own).items == [all[0]])
        #expect(try await box.json("history", "--all-hosts", "--status", "failed", settings: own).items.isEmpty)
        let text = try await box.agent("history", "--all-hosts", settings: own).output.split(separator: "\n")
        #expect(text.count == 3 && text[0].hasPrefix("ID  HOST  STATUS"), "\(text)")
        #expect(text[1].contains(" web2 ") && text[2].contains(" web1 "), "\(text)")
        #expect(try await !box.agent("history", settings: own).output.contains("HOST"))
    }

    @Test("history --all-hosts in a shared ledger")
    func sharedHistory() async throws {
        let store = try await SharedPostgres.ledger(schema: schema)
        for host in ["web1", "web2", "web3"] { try await deploy(store, host, Self.new, .succeeded) }
        let all = try await box.json("history", "--all-hosts", settings: settings()).items
        #expect(all.map { $0["host"].string } == ["web3", "web2", "web1"])
        #expect(try await box.json("history", settings: settings()).items.map { $0["host"].string } == ["web1"])
    }

    // MARK: - HTTP

    /// An agent that watches and answers, on a host that is none of the fleet's made here.
    private func start(_ port: String, _ more: [String: String]) async throws -> Program {
        let settings = more.merging(["AGENT_APP": "shop", "AGENT_HOST": "watcher"]) { $1 }
        let program = try box.start(
            "run",
            settings: settings.merging([
                "ENABLE_DEV_HEALTH": "true", "DEV_HEALTH_PORT": port, "AGENT_HTTP_HOST": "127.0.0.1",
                "AGENT_API_TOKEN": "t0ken-t0ken", "GITHUB_SYNC_INTERVAL": "1h",
            ]) { $1 })
        try await until("it has deployed", details: { program.errors }) {
            try await box.json("history", settings: settings).items.first?["status"].string == "succeeded"
        }
        return program
    }

    private func ask(_ port: String, _ path: String) async throws -> (code: Int, body: JSON) {
        let ended = try await box.start(
            program: [
                "curl", "-s", "-m", "10", "-w", "\n%{http_code}", "-H", "Authorization: Bearer t0ken-t0ken",
                "http://127.0.0.1:\(port)/api/v1\(path)",
            ]
        ).ended()
        let cut = try #require(ended.output.lastIndex(of: "\n"))
        return (Int(ended.output[ended.output.index(after: cut)...]) ?? 0, try JSON(String(ended.output[..<cut])))
    }

    @Test("the API has the same documents, and OpenAPI every key of them")
    func api() async throws {
        let port = try await box.freePort()
        _ = try await start(port, settings())
        let store = try await SharedPostgres.ledger(schema: schema)
        try await makeFleet(store)
        let folded = try await ask(port, "/fleet")
        let names = folded.body["hosts"].items.compactMap { $0["host"].string }.filter { $0 != "watcher" }
        #expect(folded.code == 200 && names == ["web1", "web2", "web3", "web4", "web5"], "\(folded)")
        #expect(folded.body["unseen_hosts"].int == 1)
        let all = try await ask(port, "/fleet?all=true")
        let expected = try await box.json("fleet", "--all", settings: settings())
        #expect(all.code == 200 && all.body["commits"] == expected["commits"], "\(all)")
        #expect(all.body["hosts"].items.map { $0["state"] } == expected["hosts"].items.map { $0["state"] })
        #expect(try await ask(port, "/fleet?all=maybe").code == 400)
        let history = try await ask(port, "/deployments?all_hosts=true").body.items
        #expect(Set(history.map { $0["host"].string ?? "" }).count == 7, "\(history)")
        #expect(try await Set(ask(port, "/deployments").body.items.map { $0["host"].string ?? "" }) == ["watcher"])
        #expect(try await ask(port, "/deployments?all_hosts=x").code == 400)

        let document = try String(contentsOfFile: packageRoot + "/docs/openapi.yaml", encoding: .utf8)
        for (schema, sent) in [
            ("Fleet", all.body), ("FleetCommit", all.body["commits"][0]), ("FleetHost", all.body["hosts"][0]),
            ("FleetDeployment", all.body["hosts"][0]["last_deployment"]), ("Lease", all.body["leases"][0]),
        ] {
            #expect(APITests.properties(of: schema, in: document) == sent.keys, "\(schema)")
        }
    }

    @Test("the API says that a fleet needs a ledger that is shared")
    func apiWithoutFleet() async throws {
        let port = try await box.freePort()
        _ = try await start(port, [:])
        let answer = try await ask(port, "/fleet")
        #expect(answer.code == 404)
        #expect(answer.body["error"]["message"].string?.contains("PostgreSQL") == true, "\(answer)")
    }
}

import Foundation
import Testing

/// The examples run as their READMEs say; what needs an engine or a cluster is read for what is wrong in it.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct ExamplesTests {
    let box: Box
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("examples").path

    init() async throws { box = try await Box() }

    @Test(
        "what an example's run.sh does works",
        arguments: ["run-once-cron", "sidecar", "entrypoint", "fleet", "one-time-tasks", "private-remote", "releases"])
    func runs(example: String) async throws {
        let ended = try await box.start(
            program: ["bash", "\(Self.folder)/\(example)/run.sh"],
            [
                "AGENT": agentBinary, "WORKSPACE_PATH": "", "AGENT_STATE_DIR": "", "GITHUB_REPO_URL": "",
                "AGENT_KILL_GRACE": "", "GITHUB_SYNC_INTERVAL": "",
            ]
        ).ended(within: 110)
        if example == "entrypoint", ended.errors.contains("unshare failed") {
            print("skipped: this machine allows no namespaces")
            return
        }
        #expect(ended.code == 0, "\(ended)")
    }

    @Test("`make run` shows a task in its record, and the second time that it is done")
    func makeRun() async throws {
        let repository = (Self.folder as NSString).deletingLastPathComponent
        try await box.sh("git clone -q '\(repository)' own")
        for expected in ["ran: 1, skipped: 0", "ran: 0, skipped: 1"] {
            let ended = try await box.start(
                // Without the build: with the program that is tested here.
                program: ["make", "-C", box.root + "/own", "-o", "release", "run", "RELEASE_BIN=" + agentBinary],
                [
                    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "", "WORKSPACE_PATH": "",
                    "AGENT_STATE_DIR": "", "GITHUB_REPO_URL": "", "AGENT_KILL_GRACE": "", "GITHUB_SYNC_INTERVAL": "",
                ]
            ).ended()
            #expect(ended.code == 0 && ended.errors.contains("tasks: \(expected), failed: 0"), "\(ended)")
            let listed = ended.output.split(separator: "\n").last { $0.hasPrefix("note-tools-v1") }
            #expect(listed?.contains(" done ") == true, "\(ended)")
        }
    }

    @Test("every setting that an example names is one of the agent's", arguments: ["env", "yaml", "service"])
    func settings(kind: String) async throws {
        let listed = try await box.json("check")["settings"].items.compactMap { $0["name"].string }
        let known = Set(listed + ["GITHUB_TOKEN_FILE"])
        let names = try await box.sh(
            """
            grep -rhoE --include='*.\(kind)' '\\b(AGENT|GITHUB|(PRE|POST|FAILED)_DEPLOY|NOTIFY|DEV_HEALTH|WORKSPACE)_[A-Z_]+\\b' \
                '\(Self.folder)' | sort -u
            """)
        let found = names.split(separator: "\n").map(String.init)
        #expect(!found.isEmpty)
        #expect(found.filter { !known.contains($0) } == [])
    }

    @Test("the app spec is read as it stands")
    func appPlatform() async throws {
        try box.write(
            String(contentsOfFile: Self.folder + "/app-platform/appspec.yaml", encoding: .utf8),
            to: box.work + "/appspec.yaml")
        try await box.commit()
        try await box.cloneWorkspace()
        let check = try await box.json("check", settings: ["AGENT_HOST": ""])
        let values = check["settings"].items.reduce(into: [String: String]()) { values, setting in
            if let name = setting["name"].string { values[name] = setting["value"].string }
        }
        #expect(values["PRE_DEPLOY_COMMAND"] == "bash migrate.sh" && values["AGENT_HOST"] == "clock", "\(check)")
        #expect(values["AGENT_APP"] == "clock" && values["AGENT_ON_DEPLOY"] == "restart", "\(check)")
    }

    @Test("systemd finds nothing wrong in the unit")
    func systemd() async throws {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-analyze") else {
            print("skipped: there is no systemd-analyze")
            return
        }
        let unit = try String(contentsOfFile: Self.folder + "/systemd/deploy-agent.service", encoding: .utf8)
        try box.write(
            unit.replacing("/usr/local/bin/agent", with: agentBinary), to: box.root + "/deploy-agent.service")
        let found = try await box.sh("systemd-analyze verify ./deploy-agent.service 2>&1")
        #expect(found == "")
    }

    @Test("the Kubernetes manifests and compose files are sound YAML with what belongs in them")
    func manifests() async throws {
        let found = try await box.sh(
            """
            /usr/bin/python3 - '\(Self.folder)' <<'EOF'
            import sys, yaml
            folder = sys.argv[1]
            kinds = {d["kind"]: d for d in yaml.safe_load_all(open(folder + "/sidecar/kubernetes.yaml"))}
            pod = kinds["Deployment"]["spec"]["template"]["spec"]
            volumes = {v["name"] for v in pod["volumes"]}
            for container in pod["containers"]:
                assert {m["name"] for m in container["volumeMounts"]} <= volumes
            agent = pod["containers"][1]
            env = {e["name"]: e["value"] for e in agent["env"]}
            mounts = {m["mountPath"] for m in agent["volumeMounts"]}
            assert env["WORKSPACE_PATH"] in mounts and env["AGENT_STATE_DIR"] in mounts
            assert kinds["Deployment"]["spec"]["selector"]["matchLabels"].items() <= \\
                kinds["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
            for name in ["sidecar", "entrypoint"]:
                compose = yaml.safe_load(open(f"{folder}/{name}/compose.yaml"))
                for service in compose["services"].values():
                    for volume in service.get("volumes", []):
                        assert volume.split(":")[0] in compose["volumes"], volume
            print("sound")
            EOF
            """)
        #expect(found == "sound")
    }
}

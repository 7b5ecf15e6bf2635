import Foundation
import Shell
import TestSupport
import Testing

@testable import Git

/// How the `git` program is run: what it gets, and what ends it.
@Suite(.timeLimit(.minutes(1)))
struct GitProgramTests {
    /// An upstream that git asks by a script instead of ssh.
    private func upstream(
        _ transport: String, environment: [String: String] = [:], timeout: Duration = .seconds(60),
        stop: StopSignal? = nil, access: RemoteAccess = RemoteAccess()
    ) async throws -> (upstream: Upstream, folder: TemporaryFolder) {
        let folder = try TemporaryFolder()
        let path = try folder.write("transport", "#!/bin/sh\n\(transport)\n")
        try #require(chmod(path, 0o755) == 0)
        let variables = ["GIT_SSH": path, "OUT": folder.path].merging(environment) { $1 }
        return (
            try await Upstream(environment: variables, timeout: timeout, stop: stop, access: access), folder
        )
    }

    private let remote = Remote(url: "ssh://host/x", ref: "main")

    @Test("a remote that hangs is ended at the deadline with all that git started, and is unreachable")
    func deadline() async throws {
        let mark = uniqueText()
        let (upstream, folder) = try await upstream(
            "exec sleep 1000", environment: ["MK": mark], timeout: .milliseconds(300))
        let error = await gitError { _ = try await upstream.program.tip(of: remote, from: "/") }
        #expect(error?.code == .unreachable && error?.description.contains("AGENT_GIT_TIMEOUT") == true)
        #expect(processes(holding: mark).isEmpty)
        withExtendedLifetime(folder) {}
    }

    @Test("a stop ends a git that hangs, and is told apart from an unreachable remote")
    func stop() async throws {
        let (mark, stop) = (uniqueText(), StopSignal())
        let (upstream, folder) = try await upstream(
            "touch $OUT/up; exec sleep 1000", environment: ["MK": mark], stop: stop)
        async let error = gitError { _ = try await upstream.program.tip(of: remote, from: "/") }
        #expect(await eventually { folder.exists("up") })
        stop.request()
        #expect(await error?.code == .stopped)
        #expect(processes(holding: mark).isEmpty)
    }

    @Test("the user's own ssh command is the one that git uses")
    func sshCommand() async throws {
        let upstream = try await Upstream()
        let script = try upstream.folder.write("own-ssh", "#!/bin/sh\necho \"$@\" > '\(upstream.folder.path)/asked'\n")
        try #require(chmod(script, 0o755) == 0)
        try upstream.folder.write(".gitconfig", "[core]\n\tsshCommand = \(script) -i key\n")
        #expect(await gitError { _ = try await upstream.program.tip(of: remote, from: "/") }?.code == .unreachable)
        #expect(upstream.folder.read("asked")?.contains("-i key") == true)
    }

    @Test("output that is more than is kept is an error, not a shorter answer")
    func tooMuchOutput() async throws {
        let upstream = try await Upstream()
        let error = await gitError {
            _ = try await upstream.program.run(
                ["-c", "alias.much=!head -c 300000000 /dev/zero", "much"], in: upstream.path, operation: "list")
        }
        #expect(error?.code == .publish && error?.description.contains("MiB") == true)
    }

    @Test("without a git program the error says so")
    func noGit() async throws {
        let program = GitProgram(
            environment: [Array("PATH=/nowhere".utf8)], timeout: .seconds(60), killGrace: .seconds(1), marker: "m",
            stop: nil)
        #expect(await gitError { _ = try await program.tip(of: remote, from: "/") }?.code == .gitMissing)
    }

    @Test("an address that nobody answers is named without its password")
    func refused() async throws {
        let remote = Remote(url: "http://me:hunter2@127.0.0.1:1/x.git", ref: "main")
        let error = await gitError { _ = try await Upstream().program.tip(of: remote, from: "/") }
        #expect(error?.code == .unreachable && error?.explanation.isEmpty == false)
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test("neither the agent's own settings nor what points git elsewhere reaches it, the rest does")
    func environment() async throws {
        let variables = [
            "GIT_DIR": "/elsewhere", "GIT_INDEX_FILE": "/elsewhere", "GIT_QUARANTINE_PATH": "/elsewhere",
            "GIT_CONFIG_PARAMETERS": "'core.elsewhere'='/elsewhere'", "AGENT_LEDGER_URL": "x", "GITHUB_TOKEN": "t0ken",
            "GIT_TRACE": "1", "KEPT": "yes", "DEPLOY_RUN_UUID": "outer-run",
        ]
        let upstream = try await Upstream(environment: variables)
        let result = try await upstream.program.run(
            ["-c", "alias.surroundings=!env", "surroundings"], in: upstream.path, operation: "show")
        let seen = String(decoding: result.output, as: UTF8.self)
        #expect(seen.contains("KEPT=yes\n") && seen.contains("GIT_TERMINAL_PROMPT=0\n"))
        for absent in ["/elsewhere", "AGENT_", "t0ken", "GIT_TRACE", "outer-run"] { #expect(!seen.contains(absent)) }
    }

    @Test("every variable that the installed git calls a repository's own is known")
    func localVariables() async throws {
        let listed = try await git("rev-parse --local-env-vars", in: "/").split(separator: "\n").map(String.init)
        #expect(!listed.isEmpty && LocalVariables.names.isSuperset(of: listed), "\(listed)")
    }

    @Test(
        "a credential is given for its origin only, whatever its characters",
        arguments: [
            ("protocol=https\nhost=host:8443\n\n", true), ("protocol=https\nhost=other\n\n", false),
            ("protocol=http\nhost=host:8443\n\n", false),
        ])
    func credential(request: String, isGiven: Bool) async throws {
        let upstream = try await Upstream(
            access: RemoteAccess(credentials: [
                GitCredential(user: "me", password: "p%'\"$x", origin: "https://host:8443"),
                GitCredential(user: "you", password: "other", origin: "https://host:8443"),
                GitCredential(user: "me", password: "third", origin: "https://third"),
            ]))
        // `git credential` reads its request from standard input: an alias feeds it.
        let file = try upstream.folder.write("request", request)
        let result = try await upstream.program.run(
            ["-c", "alias.ask=!git credential fill < '\(file)'", "ask"], in: upstream.path, operation: "ask")
        let text = String(decoding: result.output, as: UTF8.self)
        #expect(text.contains("username=me\npassword=p%'\"$x\n") == isGiven)
        #expect(text.contains("password") == isGiven)
    }
}

import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// One upstream repository, one clone to commit from, one workspace, one state directory, one folder that hooks write to.
///
/// Whatever a test started here is ended with the box: programs by their ids, their descendants by the box's mark.
final class Box: Sendable {
    let folder: TemporaryFolder
    let upstream: String
    let work: String
    let workspace: String
    let state: String
    let out: String
    /// Is in the environment of everything that the box starts, as `BOX`.
    let mark: String
    private let programs = Mutex<[Program]>([])

    var root: String { folder.path }

    init() async throws {
        await FewAtOnce.boxes.take()
        folder = try TemporaryFolder()
        upstream = folder.path + "/up.git"
        work = folder.path + "/dev"
        workspace = folder.path + "/ws"
        state = folder.path + "/state"
        out = folder.path + "/out"
        mark = "box" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: folder.path + "/bin", withIntermediateDirectories: true)
        try await sh(
            "git init -q --bare -b main up.git && git init -q -b main dev && git -C dev remote add origin \(upstream)")
        try await commit(["app.txt": "v1\n"], "first")
    }

    deinit {
        cleanUp()
        FewAtOnce.boxes.giveBack()
    }

    private func cleanUp() {
        programs.withLock { $0 }.forEach { $0.stop() }
        for _ in 0..<50 {
            let left = Processes.carrying(mark)
            if left.isEmpty { break }
            left.forEach { kill($0, SIGKILL) }
            usleep(10_000)
        }
    }

    // MARK: - Programs

    /// What an agent is started with: nothing of the tests' own environment but where programs are.
    var environment: [String: String] {
        [
            "PATH": "\(root)/bin:/usr/local/bin:/usr/bin:/bin", "HOME": root, "LC_ALL": "C.UTF-8", "BOX": mark,
            "OUT": out,
            "WORKSPACE_PATH": workspace, "AGENT_STATE_DIR": state, "AGENT_KILL_GRACE": "1", "GITHUB_SYNC_INTERVAL": "1",
            "GITHUB_REPO_URL": "file://" + upstream,
            // Many agents run at once, and there is one port 9090.
            "ENABLE_DEV_HEALTH": "false",
        ]
    }

    /// Starts any program.
    ///
    /// - Parameter settings: win over the box's own; an empty value means not set.
    func start(program command: [String], _ settings: [String: String] = [:], limit: String = ":") throws -> Program {
        let environment = environment.merging(settings) { $1 }.filter { !$0.value.isEmpty }
        let number = programs.withLock { $0.count }
        let program = try Program(
            command, environment: environment, directory: root,
            folder: "\(root)/programs/\(number)-\(UUID().uuidString)", limit: limit)
        programs.withLock { $0.append(program) }
        return program
    }

    /// Starts the agent.
    func start(_ arguments: String..., settings: [String: String] = [:], limit: String = ":") throws -> Program {
        try start(program: [agentBinary] + arguments, settings, limit: limit)
    }

    /// Runs the agent to its end.
    func agent(
        _ arguments: String..., settings: [String: String] = [:], limit: String = ":",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Ended {
        try await start(program: [agentBinary] + arguments, settings, limit: limit).ended(
            sourceLocation: sourceLocation)
    }

    struct Once: CustomStringConvertible {
        var ended: Ended
        var json: JSON
        var code: Int { ended.code }
        var outcome: String? { json["outcome"].string }
        var deployment: JSON { json["deployment"] }
        var runs: [JSON] { json["deployment"]["runs"].items }
        var description: String { ended.description }
    }

    /// Runs `agent run-once --json`.
    func once(
        _ settings: [String: String] = [:], force: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Once {
        let ended = try await start(
            program: [agentBinary, "run-once", "--json"] + (force ? ["--force"] : []), settings
        )
        .ended(sourceLocation: sourceLocation)
        return Once(ended: ended, json: (try? JSON(ended.output)) ?? .missing)
    }

    /// Runs a command of the agent that prints JSON.
    func json(
        _ arguments: String..., settings: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> JSON {
        let ended = try await start(program: [agentBinary] + arguments + ["--json"], settings).ended(
            sourceLocation: sourceLocation)
        return try JSON(ended.output)
    }

    func history() async throws -> [JSON] { try await json("history", "--limit", "1000").items }

    /// Returns once an agent that watches has made so many deployments, has looked for a further commit right after the
    /// last one, and waits for its next check: what is committed from now on is found by that check and no earlier one.
    func atRest(
        after deployments: Int, _ agent: Program, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await until(
            "\(deployments) deployments, then rest", sourceLocation: sourceLocation, details: { agent.errors }
        ) {
            guard try await history().count == deployments else { return false }
            let status = try await json("status")
            // What an agent says that waits for its next check, not what one before it has left.
            guard status["next_check"].string != nil,
                let completed = status["last_deployment"]["completed_at"].string,
                let checked = status["last_check"].string
            else { return false }
            return status["last_outcome"].string == "unchanged" && checked >= completed
        }
    }

    /// What the box started and still lives, but for agents and their launchers.
    func survivors() -> [Int32] {
        Processes.carrying(mark).filter { pid in
            let line = Processes.commandLine(pid)
            return !line.hasPrefix(agentBinary) && !line.hasPrefix("sh -c folder=$1; limit=$2")
                && !line.hasPrefix("/usr/bin/env -i ")
        }
    }

    // MARK: - Repositories and files

    /// Runs a script for the test itself; fails when it does.
    @discardableResult
    func sh(_ script: String, in directory: String? = nil, sourceLocation: SourceLocation = #_sourceLocation)
        async throws -> String
    {
        let program = try Program(
            ["sh", "-ec", script],
            environment: [
                "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": root, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@t", "GIT_COMMITTER_NAME": "Ada",
                "GIT_COMMITTER_EMAIL": "a@t",
            ], directory: directory ?? root, folder: "\(root)/programs/sh-\(UUID().uuidString)")
        let ended = try await program.ended(sourceLocation: sourceLocation)
        guard ended.code == 0 else { throw PreparationFailed("\(script): \(ended)") }
        return ended.output.trimmingCharacters(in: .newlines)
    }

    /// Commits files and pushes them; returns the commit's id.
    @discardableResult
    func commit(_ files: [String: String] = [:], _ subject: String = "change") async throws -> String {
        for (name, text) in files { try write(text, to: work + "/" + name) }
        try write(subject, to: root + "/message")
        return try await sh(
            "git add -A; git commit -q --allow-empty -F ../message; git push -q origin HEAD:main; git rev-parse HEAD",
            in: work)
    }

    func head(of repository: String? = nil) async throws -> String {
        try await sh("git rev-parse HEAD", in: repository ?? workspace)
    }

    /// Makes the workspace a clone of the upstream repository.
    func cloneWorkspace() async throws { try await sh("git clone -q up.git ws") }

    func write(_ text: String, to path: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try text.write(toFile: path, atomically: false, encoding: .utf8)
    }

    /// A TCP port of this host that nobody listened on a moment ago.
    func freePort() async throws -> String {
        try await sh(
            "python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\",0)); print(s.getsockname()[1])'")
    }

    /// Puts a program into the PATH of agents and hooks.
    func install(_ name: String, _ script: String) throws {
        try write("#!/bin/bash\n" + script, to: "\(root)/bin/\(name)")
        chmod("\(root)/bin/\(name)", 0o755)
    }

    func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Lines that hooks wrote to a file below `OUT`.
    func lines(_ name: String) -> [String] {
        (text(out + "/" + name) ?? "").split(separator: "\n").map(String.init)
    }

    func has(_ name: String) -> Bool { access(out + "/" + name, F_OK) == 0 }

    func touch(_ name: String) throws { try write("", to: out + "/" + name) }

    func remove(_ name: String) { unlink(out + "/" + name) }

    /// Every file below a folder with its kind, mode and content; `.git` too.
    func fingerprint(_ directory: String) async throws -> String {
        try await sh(
            "find . -printf '%P %y %m %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0r sha256sum",
            in: directory)
    }
}

/// Script fragments for hooks.
enum Hooks {
    /// Notes in `$OUT/overlap` when another copy, or anything that one left behind, lives at this moment: what a hook
    /// starts inherits the lock.
    static let exclusive = "exec 9>>\"$OUT/lock\"; flock -n 9 || echo \"$DEPLOY_RUN_ID\" >> \"$OUT/overlap\"; "

    /// Waits, for at most a minute, until a file is there.
    static func await_(_ name: String) -> String {
        "for i in $(seq 6000); do test -e \"$OUT/\(name)\" && break; sleep 0.01; done; "
    }

    /// Starts processes that no signal but SIGKILL ends: a grandchild, one in a session of its own, one that is nobody's child.
    static let stubborn = """
        trap '' TERM INT HUP
        ( while :; do sleep 1; done ) &
        setsid sh -c "trap '' TERM; touch $OUT/setsid; while :; do sleep 1; done" &
        ( setsid sh -c "trap '' TERM; touch $OUT/double; while :; do sleep 1; done" & ) &
        for i in $(seq 3000); do test -e "$OUT/setsid" && test -e "$OUT/double" && break; sleep 0.01; done
        touch "$OUT/ready"
        while :; do sleep 1; done
        """
}

/// A server that takes connections and never says a word.
final class SilentServer: Sendable {
    private let descriptor: Int32
    let port: UInt16

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(descriptor, raw, length) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, raw, &length) == 0
            }
        }
        guard bound else { throw PreparationFailed("no socket: \(errno)") }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }

    var url: String { "git://127.0.0.1:\(port)/repo.git" }
}

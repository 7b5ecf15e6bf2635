import Foundation
import Glibc
import Shell

/// `git daemon` on a free loopback port: git's own protocol, without encryption and without users.
public final class GitDaemon: Sendable {
    public let port: Int
    private let server: KeptServer

    /// - Parameter folder: holds the repositories.
    public init(serving folder: String) async throws {
        port = try await freeLoopbackPort()
        let port = port
        server = try KeptServer([
            """
            "$(git --exec-path)/git-daemon" --reuseaddr --listen=127.0.0.1 --port=\(port) --export-all \
            --base-path='\(folder)' '\(folder)'
            """
        ])
        try await server.started { listens(port) }
    }

    public func url(_ name: String) -> String { "git://127.0.0.1:\(port)/\(name)" }
}

/// Servers of a test's own and the folder with their files; killed and removed with it, or with this process, however
/// that ends.
final class KeptServer: Sendable {
    let folder: TemporaryFolder
    private let keeper = Process()
    private let life = Pipe()

    /// - Parameter commands: what a shell starts in the folder, each in a session of its own. None becomes a daemon.
    init(_ commands: [String], in folder: TemporaryFolder? = nil) throws {
        self.folder = try folder ?? TemporaryFolder()
        let path = self.folder.path
        keeper.executableURL = URL(fileURLWithPath: "/bin/sh")
        // Its standard input is closed when this process ends. A server just spawned may not lead its group yet. The mark of a
        // run that another test may be starting at this moment is taken off: it would be ended with that run.
        keeper.arguments = [
            "-c",
            """
            prlimit --pid $$ --locks=unlimited:; PATH=$PATH:/usr/sbin; cd '\(path)' && exec > output 2>&1
            \(commands.map { "setsid \($0) & servers=\"$servers $!\"" }.joined(separator: "\n"))
            cat
            for server in $servers; do kill -s KILL -- "-$server" || kill -s KILL "$server"; done
            wait; cd / && rm -rf '\(path)'
            """,
        ]
        // Marked as no run's: other tests of this process end orphans. The repositories may be another user's.
        keeper.environment = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "DEPLOY_RUN_UUID": "test-harness", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        ]
        keeper.standardInput = life
        keeper.standardOutput = FileHandle.nullDevice
        keeper.standardError = FileHandle.nullDevice
        try keeper.run()
    }

    deinit {
        try? life.fileHandleForWriting.close()
        keeper.waitUntilExit()
    }

    /// Waits until they answer.
    func started(_ isReady: () async throws -> Bool) async throws {
        guard try await eventually(isReady) else {
            throw PreparationFailed("a server did not start: \(folder.read("output") ?? "")")
        }
    }
}

/// Whether somebody takes connections on a loopback port.
func listens(_ port: Int) -> Bool {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    return withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}

/// Runs a script that a test's preparation needs; returns what it printed, without the newline at the end.
@discardableResult
func prepared(_ script: String, in folder: String, environment: [String: String] = [:]) async throws -> String {
    let result = try await shell(script, in: folder, environment: environment)
    guard result.verdict.isSuccess else { throw PreparationFailed("\(script): \(result.output)") }
    return result.output.trimmingCharacters(in: .newlines)
}

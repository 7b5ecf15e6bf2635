import Foundation
import Shell

/// PgBouncer in transaction mode in front of a cluster, on a free loopback port; ended with the process.
public final class PgBouncer: Sendable {
    public let port: Int
    private let folder: TemporaryFolder
    private let keeper = Process()
    private let life = Pipe()

    public init(_ cluster: PostgresCluster) async throws {
        folder = try TemporaryFolder()
        port = try await freeLoopbackPort()
        let path = folder.path
        try """
        [databases]
        * = host=127.0.0.1 port=\(cluster.port)
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = \(port)
        unix_socket_dir =
        auth_type = plain
        auth_file = \(path)/users
        pool_mode = transaction
        default_pool_size = 4
        max_client_conn = 200
        logfile = \(path)/log
        """.write(toFile: path + "/config", atomically: false, encoding: .utf8)
        try "\"agent\" \"s3cret\"\n".write(toFile: path + "/users", atomically: false, encoding: .utf8)
        // It does not run as root either.
        let asServer =
            geteuid() == 0
            ? "chown -R postgres '\(path)'; setpriv --reuid postgres --regid postgres --clear-groups " : ""
        // Without the mark of a run that another test may be starting at this moment: it would be ended with that run.
        keeper.executableURL = URL(fileURLWithPath: "/bin/sh")
        keeper.arguments = [
            "-c",
            """
            prlimit --pid $$ --locks=unlimited:; PATH=$PATH:/usr/sbin; \(asServer)pgbouncer -q '\(path)/config' & server=$!
            cat; kill $server; wait $server; rm -rf '\(path)'
            """,
        ]
        keeper.environment = ["PATH": "/usr/local/bin:/usr/bin:/bin", "DEPLOY_RUN_UUID": "test-harness"]
        keeper.standardInput = life
        keeper.standardOutput = FileHandle.nullDevice
        keeper.standardError = FileHandle.nullDevice
        try keeper.run()
        let probe = "PGPASSWORD=s3cret psql -XAtqc 'SELECT 1' -h 127.0.0.1 -p \(port) -U agent postgres"
        let limit = ContinuousClock.now + .seconds(20)
        while true {
            let answer = try await shell(probe)
            if answer.verdict.isSuccess { return }
            guard ContinuousClock.now < limit else { throw PreparationFailed("pgbouncer: \(answer.output)") }
        }
    }

    deinit {
        try? life.fileHandleForWriting.close()
        keeper.waitUntilExit()
    }

    public var url: String { "postgresql://agent:s3cret@127.0.0.1:\(port)/postgres" }
}

/// A TCP port that nobody listened on a moment ago, below those that the kernel gives to outgoing connections: one of these
/// would take it before the server does.
public func freeLoopbackPort() async throws -> Int {
    let search = """
        import random, socket
        while True:
            port = random.randint(20000, 32000)
            with socket.socket() as candidate:
                try:
                    candidate.bind(("127.0.0.1", port))
                except OSError:
                    continue
            print(port)
            break
        """
    let free = try await shell("python3 - <<'EOF'\n\(search)\nEOF")
    guard let port = Int(free.output.trimmingCharacters(in: .whitespacesAndNewlines)) else {
        throw PreparationFailed("no free port: \(free.output)")
    }
    return port
}

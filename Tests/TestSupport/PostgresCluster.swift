import Foundation
import Glibc
import Shell

/// A PostgreSQL server of the tests' own: a throw-away cluster on a unix socket and a free loopback port, ended with it.
///
/// A server does not run as root: then everything here runs as the user that Debian's package made.
public final class PostgresCluster: Sendable {
    public let port: Int
    private let folder: TemporaryFolder
    private let programs: String
    private let keeper = Process()
    private let life = Pipe()

    /// Where its files are.
    public var folderPath: String { folder.path }

    /// Makes and starts it.
    ///
    /// - Parameter prepare: a script for the server's user, run in the folder before the first start.
    public init(prepare: String = ":") async throws {
        folder = try TemporaryFolder()
        let found = try await shell("ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1").output
        programs = found.trimmingCharacters(in: .whitespacesAndNewlines)
        port = try await freeLoopbackPort()
        try await expect("mkdir data && chmod 700 data && echo s3cret > password && chmod 755 . && \(Self.give)")
        try await expect(
            Self.asServer(
                "\(programs)/initdb -D data -U agent --auth=scram-sha-256 --pwfile=password -E UTF8 --locale=C -N"))
        try await expect(
            """
            cat >> data/postgresql.conf <<'EOF'
            listen_addresses = '127.0.0.1'
            port = \(port)
            max_connections = 300
            unix_socket_directories = '\(folder.path)'
            fsync = off
            EOF
            """)
        try prepare.write(toFile: folder.path + "/prepare", atomically: false, encoding: .utf8)
        try await expect(Self.asServer("sh -e ./prepare"))
        try startKeeper()
        try await start()
    }

    deinit {
        try? life.fileHandleForWriting.close()
        keeper.waitUntilExit()
    }

    /// Ends the server when this process ends, however that happens: its standard input is closed then.
    private func startKeeper() throws {
        keeper.executableURL = URL(fileURLWithPath: "/bin/sh")
        let stop = Self.asServer("\(programs)/pg_ctl -D data -m immediate stop")
        keeper.arguments = [
            "-c",
            "prlimit --pid $$ --locks=unlimited:; cd '\(folder.path)' && cat; \(stop); cd / && rm -rf '\(folder.path)'",
        ]
        // Marked as no run's: other tests of this process end orphans.
        keeper.environment = ["PATH": "/usr/local/bin:/usr/bin:/bin", "DEPLOY_RUN_UUID": "test-harness"]
        keeper.standardInput = life
        keeper.standardOutput = FileHandle.nullDevice
        keeper.standardError = FileHandle.nullDevice
        try keeper.run()
    }

    public func start() async throws {
        // With its output in a file: the server would hold the pipe open.
        try await expect(Self.asServer("\(programs)/pg_ctl -D data -w -l log start > ctl 2>&1"))
    }

    /// - Parameter mode: `fast`, or `immediate` for what a crash is.
    public func stop(_ mode: String = "immediate") async throws {
        try await expect(Self.asServer("\(programs)/pg_ctl -D data -m \(mode) -w stop > ctl 2>&1"))
    }

    /// A superuser's connection string.
    public func url(database: String = "postgres", password: String = "s3cret") -> String {
        "postgresql://agent:\(password)@127.0.0.1:\(port)/\(database)"
    }

    /// A database of a test's own.
    ///
    /// - Parameter options: of CREATE DATABASE.
    public func makeDatabase(_ options: String = "") async throws -> String {
        let name = uniqueText()
        try await expect(
            "PGPASSWORD=s3cret psql -q -h 127.0.0.1 -p \(port) -U agent postgres -c 'CREATE DATABASE \(name) \(options)'"
        )
        return name
    }

    private static let give = geteuid() == 0 ? "chown -R postgres ." : ":"

    private static func asServer(_ command: String) -> String {
        geteuid() == 0 ? "setpriv --reuid postgres --regid postgres --clear-groups \(command)" : command
    }

    private func expect(_ script: String) async throws {
        let result = try await shell(script, in: folder.path)
        guard result.verdict.isSuccess else { throw PreparationFailed("\(script): \(result.output)") }
    }
}

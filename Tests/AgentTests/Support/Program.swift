import Foundation
import Glibc
import Synchronization
import Testing

/// What a program came to.
struct Ended: Sendable, CustomStringConvertible {
    /// 128+N when signal N ended it.
    var code: Int
    var output: String
    var errors: String

    var description: String { "exit code \(code)\noutput: \(output.suffix(3000))\nerrors: \(errors.suffix(6000))" }
}

/// A program started by a test, its output kept in files.
///
/// Other tests of the same process adopt and end orphans. So the program is not a child of the tests: a small shell in
/// between, marked as no run's, starts it, waits for it, and writes its exit code to a file.
final class Program: Sendable {
    /// Where its files lie: `pid`, `out`, `err`, `code`.
    let folder: String
    private let launcher: Mutex<pid_t>
    private let peak = Mutex(0)

    private static let script = """
        folder=$1; limit=$2; cd "$3"; shift 3
        sh -c 'echo $$ >"$0/pid.new"; mv "$0/pid.new" "$0/pid"; eval "$1"; shift; exec "$@"' "$folder" "$limit" "$@" \
            >"$folder/out" 2>"$folder/err" </dev/null
        echo $? >"$folder/code.new"; mv "$folder/code.new" "$folder/code"
        """

    /// - Parameters:
    ///   - environment: all of it; nothing is inherited.
    ///   - directory: its working directory.
    ///   - limit: a shell command that runs before it, such as `ulimit -f 100`.
    init(_ command: [String], environment: [String: String], directory: String, folder: String, limit: String = ":")
        throws
    {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let arguments =
            ["sh", "-c", Self.script, "launcher", folder, limit, directory, "/usr/bin/env", "-i"]
            + environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } + command
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        // What the tests have open is none of its business; closing what is not open does no harm.
        for descriptor: Int32 in 3..<256 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | 0x80 /* POSIX_SPAWN_SETSID */))
        var pid: pid_t = 0
        let argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let variables = ["PATH=/usr/local/bin:/usr/bin:/bin", "DEPLOY_RUN_UUID=test-harness"]
        let envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        let failure = posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv, envp)
        guard failure == 0 else { throw WaitedInVain(description: "spawn: \(String(cString: strerror(failure)))") }
        launcher = Mutex(pid)
    }

    /// Its process id; nil before it has started.
    var pid: Int32? {
        read("pid").flatMap { Int32($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    /// Nil while it runs.
    var code: Int? {
        read("code").flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    var output: String { read("out") ?? "" }
    var errors: String { read("err") ?? "" }
    /// The most memory seen since `watchMemory`, in KiB.
    var peakMemory: Int { peak.withLock { $0 } }

    /// Looks at its memory until it has ended; on a thread, since tests that wait may not get to it while it is quick.
    func watchMemory() {
        Thread.detachNewThread {
            while self.code == nil, access(self.folder, F_OK) == 0 {
                if let pid = self.pid, let now = Processes.peakMemory(pid) { self.peak.withLock { $0 = max($0, now) } }
                usleep(5000)
            }
        }
    }

    private func read(_ name: String) -> String? {
        FileManager.default.contents(atPath: folder + "/" + name).map { String(decoding: $0, as: UTF8.self) }
    }

    func started(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Int32 {
        try await until("a program has started", sourceLocation: sourceLocation) { pid != nil }
        return pid ?? 0
    }

    func send(_ signal: Int32) async throws {
        let pid = try await started()
        guard code == nil else { return }
        kill(pid, signal)
    }

    /// Waits for the end. When it does not come in time the program is killed and the test fails.
    func ended(within seconds: Double = 80, sourceLocation: SourceLocation = #_sourceLocation) async throws -> Ended {
        do {
            try await until(
                "a program has ended", within: seconds, sourceLocation: sourceLocation,
                details: { "log: \(self.errors.suffix(3000))" }
            ) { code != nil }
        } catch {
            stop()
            throw error
        }
        reap()
        return Ended(code: code ?? -1, output: output, errors: errors)
    }

    /// Kills it, when it lives, and waits for the launcher's end.
    func stop() {
        if code == nil {
            // The launcher is alive, so the id is still that of its child.
            for _ in 0..<200 where pid == nil && code == nil { usleep(5000) }
            if let pid, code == nil { kill(pid, SIGKILL) }
        }
        reap()
    }

    private func reap() {
        launcher.withLock { launcher in
            guard launcher > 0 else { return }
            // Another test's sweep for ended children may have been faster; then there is nothing to wait for.
            while waitpid(launcher, nil, 0) < 0 && errno == EINTR {}
            launcher = 0
        }
    }
}

import Glibc
public import Shell

/// Runs the `git` program: each call with a deadline, in a session of its own that is ended whole, with a repository's
/// own hooks off and nothing asked on a terminal.
public struct GitProgram: Sendable {
    /// The process environment, as `KEY=VALUE` entries.
    private var environment: [[UInt8]]
    /// How much configuration the environment holds (`GIT_CONFIG_COUNT`).
    private var configurations: Int
    private let searchPath: String?
    private let timeout: Duration
    private let killGrace: Duration
    private let marker: String
    private let stop: StopSignal?
    private let withheld: WithheldToken?

    /// - Parameters:
    ///   - timeout: the deadline of one network step.
    ///   - marker: marks git's processes, so that those of a killed agent are found again.
    ///   - access: what it needs to reach remotes.
    public init(
        environment: [[UInt8]], timeout: Duration, killGrace: Duration, marker: String, stop: StopSignal?,
        access: RemoteAccess = RemoteAccess()
    ) {
        self.timeout = timeout
        self.killGrace = killGrace
        self.marker = marker
        self.stop = stop
        withheld = access.withheld
        (self.environment, configurations) = Self.prepared(environment, access)
        let pathPrefix = Array("PATH=".utf8)
        searchPath = environment.first { $0.starts(with: pathPrefix) }.map {
            String(decoding: $0.dropFirst(pathPrefix.count), as: UTF8.self)
        }
    }

    /// What git needs to know, by environment only: arguments are visible to every process, configuration files stay.
    private static func prepared(_ environment: [[UInt8]], _ access: RemoteAccess) -> ([[UInt8]], Int) {
        let environment = LocalVariables.removed(from: environment)
        let replaced = [
            "GIT_TERMINAL_PROMPT=", "GIT_ASKPASS=", "SSH_ASKPASS=", "LC_ALL=", "LANGUAGE=", "GIT_TRACE",
            "GIT_CURL_VERBOSE=", "GIT_LFS_SKIP_SMUDGE=",
            "GIT_CONFIG_COUNT=", "GIT_DEFAULT_HASH=", "GIT_DEFAULT_REF_FORMAT=", "AGENT_", "GITHUB_TOKEN=",
            // The marker of a run that this agent itself is part of: git's processes are found by the agent's own.
            "\(Command.markerVariable)=",
        ]
        let left = (replaced + access.overruled).map { Array($0.utf8) }
        var result = environment.filter { entry in !left.contains { entry.starts(with: $0) } }
        var count = 0
        let countPrefix = Array("GIT_CONFIG_COUNT=".utf8)
        if let set = environment.first(where: { $0.starts(with: countPrefix) }) {
            count = Int(String(decoding: set.dropFirst(countPrefix.count), as: UTF8.self)) ?? 0
        }
        func add(_ variable: String, _ value: String) { result.append(Array("\(variable)=\(value)".utf8)) }
        func configure(_ key: String, _ value: String) {
            add("GIT_CONFIG_KEY_\(count)", key)
            add("GIT_CONFIG_VALUE_\(count)", value)
            count += 1
        }
        configure("core.hooksPath", "/dev/null")
        configure("core.fsmonitor", "false")
        // libgit2 reads whole indexes only.
        configure("core.splitIndex", "false")
        configure("index.sparse", "false")
        configure("index.skipHash", "false")
        // For our own calls only: the checkout may belong to the app's user.
        configure("safe.directory", "*")
        // Housekeeping runs when we ask for it, not detached in the background.
        configure("gc.auto", "0")
        configure("maintenance.auto", "false")
        // Repositories inside a commit's are fetched and checked out by us.
        configure("submodule.recurse", "false")
        configure("fetch.recurseSubmodules", "false")
        // What is made is of the kind that libgit2 reads, whatever the machine has for new ones.
        configure("init.defaultObjectFormat", "sha1")
        configure("init.defaultRefFormat", "files")
        // Of a hundred files and more: they wait for the disk more than they compute.
        let cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        if cores > 1 { configure("checkout.workers", "\(min(2 * cores, 8))") }
        let (variables, configuration) = access.given
        for (key, value) in configuration { configure(key, value) }
        for (name, value) in variables { add(name, value) }
        add("GIT_TERMINAL_PROMPT", "0")
        add("GIT_ASKPASS", "")
        // ssh has no terminal to ask on, and with this no program either: what it would ask counts as not answered. Where
        // nothing is set its command is left as it is, since GIT_SSH_COMMAND would win over the user's core.sshCommand.
        add("SSH_ASKPASS", "")
        add("LC_ALL", "C")
        return (result, count)
    }

    /// The same with one more setting, which counts for this program's own calls alone.
    func configuring(_ key: String, _ value: String) -> GitProgram {
        var program = adding("GIT_CONFIG_KEY_\(configurations)", key)
            .adding("GIT_CONFIG_VALUE_\(configurations)", value)
        program.configurations += 1
        return program
    }

    /// Whether there is a program of that name.
    func has(_ name: String) -> Bool { findProgram(name, searchPath: searchPath) != nil }

    /// The same with one more variable.
    func adding(_ variable: String, _ value: String) -> GitProgram {
        var program = self
        program.environment.append(Array("\(variable)=\(value)".utf8))
        return program
    }

    struct Result {
        var exitCode: Int
        var output: [UInt8]
        /// The end of standard error without git's prefixes, for a message.
        var message: String
        /// What a server that is too busy asked for.
        var retryAfter: Duration?
        /// What was not shown to one origin.
        var withheld: WithheldToken?

        func error(_ code: GitError.Code, _ operation: String) -> GitError {
            var error = GitError(code, operation: operation, explanation: message)
            error.leavesLocks = exitCode == Self.killed
            error.retryAfter = retryAfter
            return error
        }

        /// In place of the exit code of a git that was ended by a signal.
        static let killed = -1
    }

    /// Enough for a list of two million files.
    private static let outputLimitBytes = 256 * 1024 * 1024

    private static let allowedProtocols = Array("GIT_ALLOW_PROTOCOL=".utf8)

    /// Runs git in `folder`.
    ///
    /// - Parameters:
    ///   - operation: what it is for, for the error.
    ///   - network: whether the deadline of network steps holds; local steps have ten times as long.
    ///   - input: path of a file to read standard input from; otherwise there is nothing on it.
    ///   - name: another program of the same kind.
    /// - Throws: `GitError` when git is missing, does not end in time, prints more than is kept, or a stop was requested.
    func run(
        _ arguments: [String], in folder: String, operation: String, network: Bool = false, input: String? = nil,
        program name: String = "git"
    ) async throws -> Result {
        guard let program = findProgram(name, searchPath: searchPath) else {
            throw GitError(
                .gitMissing, operation: operation, explanation: "there is no `\(name)` program in PATH; install it")
        }
        let output = CollectedOutput(limit: Self.outputLimitBytes)
        let errors = ErrorLines()
        let verdict: Verdict
        do {
            verdict = try await runCommand(
                Command(
                    executable: input == nil ? program : "/bin/sh",
                    arguments: (input.map { ["-c", "exec \"$@\" < \"$0\"", $0, program] } ?? []) + arguments,
                    folder: folder,
                    environment: environment.filter { network || !$0.starts(with: Self.allowedProtocols) }
                        + [Array("GIT_CONFIG_COUNT=\(configurations)".utf8)] + (network ? CurlTrace.variables : []),
                    marker: marker, timeout: network ? timeout : timeout * 10, killGrace: killGrace,
                    claimsOrphans: false),
                output: output, errors: errors, stop: stop)
        } catch let error as ShellError {
            throw GitError(.publish, operation: operation, explanation: error.description)
        }
        switch verdict.cause {
        case .timedOut:
            var error = GitError(
                network ? .unreachable : .publish, operation: operation,
                explanation:
                    "git did not finish within \(network ? timeout : timeout * 10) (AGENT_GIT_TIMEOUT) and was ended")
            error.leavesLocks = true
            throw error
        case .stopped:
            var error = GitError(.stopped, operation: operation, explanation: "the agent is stopping")
            error.leavesLocks = true
            throw error
        case .ended: break
        }
        // A list that was cut would read as one of fewer files.
        guard !output.isTruncated else {
            throw GitError(
                .publish, operation: operation,
                explanation: "git printed more than \(Self.outputLimitBytes >> 20) MiB")
        }
        let code = if case .exited(let code) = verdict.termination { code } else { Result.killed }
        return Result(
            exitCode: code, output: output.bytes, message: Self.message(errors.lines, verdict.termination),
            retryAfter: code == 0 ? nil : errors.retryAfter, withheld: withheld)
    }

    /// Runs git and expects exit code 0.
    @discardableResult
    func expect(
        _ arguments: [String], in folder: String, operation: String, code: GitError.Code, network: Bool = false,
        input: String? = nil, program name: String = "git"
    ) async throws -> Result {
        let result = try await run(
            arguments, in: folder, operation: operation, network: network, input: input, program: name)
        guard result.exitCode == 0 else { throw result.error(code, operation) }
        return result
    }

    private static func message(_ errors: [Substring], _ termination: Verdict.Termination) -> String {
        let lines = errors.map { $0.trimmingPrefix("fatal: ").trimmingPrefix("error: ") }
            .filter {
                !$0.isEmpty && !$0.hasPrefix("hint:") && !$0.hasPrefix("Please make sure")
                    && $0 != "and the repository exists."
                    // How to make ssh trust whatever key comes is no advice.
                    && !$0.contains("ssh-keygen -f") && !$0.contains("remove with:")
            }
        if lines.isEmpty {
            switch termination {
            case .exited(let code): return "git ended with exit code \(code)"
            case .signaled(let signal): return "git was ended by signal \(signal)"
            }
        }
        return lines.suffix(4).joined(separator: "; ")
    }
}

import CAgentShims
import Glibc

/// A program to be started by posix_spawn(3), with a mark by which its processes are found again.
struct Spawn: Sendable {
    /// Where it runs.
    enum Place: Sendable {
        /// In a session of its own, with nothing on standard input.
        /// - output: where standard output goes.
        /// - errors: where standard error goes.
        case session(output: Int32, errors: Int32)
        /// In a process group of its own with our standard streams.
        /// - terminal: whose foreground it gets.
        case group(terminal: Int32?)
    }

    var executable: String
    var arguments: [String]
    /// Working directory.
    var folder: String
    /// `KEY=VALUE` entries; the marker is added to them.
    var environment: [[UInt8]]
    var marker: String
    var place: Place

    /// Starts it. Blocks while another spawn is under way, a millisecond.
    ///
    /// - Returns: its id; the caller reaps it, and tells `Children`.
    /// - Throws: `ShellError`.
    func start() throws(ShellError) -> Int32 {
        let environment =
            environment.filter(Self.canBePassedOn) + [Array("\(Command.markerVariable)=\(marker)".utf8)]
        let words = [executable] + arguments
        var pid: Int32 = 0
        Children.willSpawn(marker)
        let failure = Self.withCStrings(words.map { Array($0.utf8) }) { arguments in
            Self.withCStrings(environment) { environment in
                executable.withCString { path in
                    folder.withCString { folder in
                        var how = agent_spawn_how(
                            path: path, arguments: arguments, environment: environment, folder: folder, output: -1,
                            errors: -1, leads_session: 0, terminal: -1)
                        switch place {
                        case .session(let output, let errors):
                            (how.output, how.errors, how.leads_session) = (output, errors, 1)
                        case .group(let terminal): how.terminal = terminal ?? -1
                        }
                        return agent_spawn(&how, &pid)
                    }
                }
            }
        }
        guard failure == 0 else {
            Children.spawnFailed()
            throw error(failure, environment, words)
        }
        Children.spawned(pid)
        return pid
    }

    /// Whether an entry has a name that a program could set; others come from odd parents.
    private static func canBePassedOn(_ entry: [UInt8]) -> Bool {
        guard let first = entry.first, !(48...57).contains(first), !entry.contains(0),
            let equals = entry.firstIndex(of: UInt8(ascii: "="))
        else { return false }
        return equals > 0
    }

    private func error(_ number: Int32, _ environment: [[UInt8]], _ words: [String]) -> ShellError {
        let reason = errorText(number)
        // What failed of it the number alone does not say.
        var info = stat()
        let problem =
            stat(folder, &info) != 0
            ? errno : info.st_mode & S_IFMT != S_IFDIR ? ENOTDIR : access(folder, X_OK) == 0 ? 0 : errno
        guard problem == 0 else {
            return ShellError(
                .folder, operation: executable, explanation: "cannot enter \(folder): \(errorText(problem))")
        }
        switch number {
        case ENOENT, ENOTDIR, ELOOP: return ShellError(.notFound, operation: executable, explanation: reason)
        case EACCES, EPERM, ENOEXEC: return ShellError(.notExecutable, operation: executable, explanation: reason)
        case EAGAIN, ENOMEM, EMFILE, ENFILE:
            return ShellError(.resources, operation: executable, explanation: "no process: \(reason)")
        case E2BIG:
            return ShellError(
                .failed, operation: executable, explanation: "\(reason): \(Self.sizes(environment, words))")
        default: return ShellError(.failed, operation: executable, explanation: reason)
        }
    }

    /// What takes the room that a program's environment and arguments have (execve(2)), and how much that is: names, no values.
    private static func sizes(_ environment: [[UInt8]], _ words: [String]) -> String {
        let variables = environment.map { entry in
            (String(decoding: entry.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self), entry.count + 1)
        }
        let largest = variables.sorted { $0.1 > $1.1 }.prefix(3).map { "\($0.0) has \($0.1) bytes" }
        let all = variables.reduce(0) { $0 + $1.1 }
        let arguments = words.reduce(0) { $0 + $1.utf8.count + 1 }
        return
            "the environment has \(all) bytes (\(largest.joined(separator: ", "))), the command \(arguments); "
            + "together they may have \(sysconf(Int32(_SC_ARG_MAX))), each variable and argument \(32 * getpagesize())"
    }

    /// Copies of the texts, up to their first NUL, with the null pointer at the end that exec wants.
    private static func withCStrings<T>(
        _ texts: [[UInt8]], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>?) -> T
    ) -> T {
        let pointers = texts.map { text in
            (text + CollectionOfOne(0)).withUnsafeBufferPointer { buffer in
                buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.flatMap { strdup($0) } }
            }
        }
        defer { pointers.forEach { free($0) } }
        return (pointers + [nil]).withUnsafeBufferPointer { body($0.baseAddress) }
    }
}

import CAgentShims
import Glibc
import Synchronization

/// A process beside the agent that ends a run when the agent dies, or does not prolong it in time because it is stopped or
/// cut off.
///
/// It is this very program, started with `word`. It reads, on its standard input, until when the run may go on; the end of
/// that input means that the agent is dead.
public final class RunGuard: Sendable {
    /// First argument of the program when it is to be a guard.
    public static let word = "guard-run"
    /// After the time that a run was given: how long its processes have for their end before they are killed.
    public static let grace = Duration.seconds(4)

    /// The writing end of the guard's input; -1 once it was released.
    private let pipe: Mutex<Int32>

    /// Starts the guard. The run may be started right after.
    ///
    /// - Parameters:
    ///   - markFile: where the run's `ProcessMark` is, or will be once it was spawned.
    ///   - grace: time between SIGTERM and SIGKILL when the agent dies.
    ///   - deadline: until when the run may go on.
    /// - Throws: `ShellError` `resources`.
    public init(markFile: String, grace: Duration, deadline: BootTime) throws {
        var ends: [Int32] = [-1, -1]
        guard agent_pipe(&ends, 4096) == 0 else {
            throw ShellError(.resources, operation: "guard", explanation: "no pipe: \(errorText(errno))")
        }
        let words = [
            "agent", Self.word, markFile,
            String(max(0, grace.components.seconds * 1000 + grace.components.attoseconds / 1_000_000_000_000_000)),
            String(deadline.nanoseconds),
        ]
        let arguments = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        let pid = Children.spawnHelper { agent_spawn_guard(arguments, ends[0]) }
        let problem = errno
        close(ends[0])
        guard pid > 0 else {
            close(ends[1])
            throw ShellError(.resources, operation: "guard", explanation: errorText(problem))
        }
        // A guard that is gone must not hold us up.
        _ = agent_set_blocking(ends[1], 0)
        pipe = Mutex(ends[1])
    }

    deinit { release() }

    /// Lets the run go on until then.
    ///
    /// - Returns: whether the guard was there to hear it; it does not listen any more once it ends the run.
    public func prolong(until deadline: BootTime) -> Bool {
        send("\(deadline.nanoseconds)\n")
    }

    /// The run has ended: so does the guard.
    ///
    /// - Returns: whether the guard was still there, and had not begun to end the run.
    @discardableResult
    public func release() -> Bool {
        let wasThere = send("done\n")
        pipe.withLock { descriptor in
            if descriptor >= 0 { close(descriptor) }
            descriptor = -1
        }
        return wasThere
    }

    private func send(_ line: String) -> Bool {
        pipe.withLock { descriptor in
            let length = line.utf8.count
            return line.withCString { write(descriptor, $0, length) } == length
        }
    }

    // MARK: - The guard itself

    /// Guards, with the program's arguments after the word, and ends the process.
    public static func serve(_ arguments: [String]) -> Never {
        guard arguments.count == 3, let grace = Int64(arguments[1]), let deadline = Int64(arguments[2]) else {
            exit(64)
        }
        // Signals are blocked: what ends the agent's group or control group is first of all for the agent.
        switch watch(until: BootTime(nanoseconds: deadline)) {
        case .done: break
        // Counted from the deadline, whenever this process came to be woken: then the lease is over soon.
        case .late(let deadline): end(arguments[0], grace: timeLeft(after: deadline))
        case .orphaned(let deadline):
            end(arguments[0], grace: min(.milliseconds(grace), timeLeft(after: deadline)))
        }
        exit(0)
    }

    private enum Watched {
        /// The run has ended by itself.
        case done
        /// It was not prolonged.
        /// - since: until when it might have gone on.
        case late(since: BootTime)
        /// The agent is dead.
        /// - until: as far as it had been prolonged.
        case orphaned(until: BootTime)
    }

    private static func watch(until first: BootTime) -> Watched {
        var deadline = first
        let timer = agent_boottime_timer()
        var input: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            _ = agent_set_boottime_timer(timer, deadline.nanoseconds)
            var entries = [
                pollfd(fd: 0, events: Int16(POLLIN), revents: 0), pollfd(fd: timer, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&entries, 2, -1) > 0 else { continue }
            // The input first: the agent's word may have come in time, and we be late to read it.
            if entries[0].revents != 0 {
                let count = read(0, &chunk, chunk.count)
                guard count > 0 else { return .orphaned(until: deadline) }
                input += chunk[..<count]
                while let end = input.firstIndex(of: 10) {
                    let line = String(decoding: input[..<end], as: UTF8.self)
                    input.removeSubrange(...end)
                    if line == "done" { return .done }
                    if let time = Int64(line) { deadline = BootTime(nanoseconds: time) }
                }
            }
            if BootTime.now >= deadline {
                // From here on the agent's word comes too late, and it is told so (EPIPE).
                close(0)
                return .late(since: deadline)
            }
        }
    }

    private static func timeLeft(after deadline: BootTime) -> Duration {
        max(.zero, deadline.advanced(by: grace).since(.now))
    }

    private static func end(_ markFile: String, grace: Duration) {
        var text = [UInt8](repeating: 0, count: 4096)
        let descriptor = open(markFile, O_RDONLY | O_CLOEXEC)
        // No mark: the run has ended and was recorded.
        guard descriptor >= 0 else { return }
        let count = read(descriptor, &text, text.count)
        close(descriptor)
        guard count > 0, let mark = ProcessMark(text: String(decoding: text[..<count], as: UTF8.self)) else { return }
        // The agent has the mark of what it is spawning for a moment.
        _ = ProcessTree(mark: mark, includesAdopted: false, spared: getppid()).end(grace: grace)
    }
}

/// One command to run: what, where, with which environment, for how long.
public struct Command: Sendable {
    /// Name of the variable that marks every process of a run; its value is the run's marker.
    public static let markerVariable = "DEPLOY_RUN_UUID"

    /// The program's path, as `findProgram` gives it.
    public var executable: String
    public var arguments: [String]
    /// Working directory.
    public var folder: String
    /// `KEY=VALUE` entries as bytes; the marker is added to them.
    public var environment: [[UInt8]]
    /// Unique text by which the run's processes are found again, also by another agent after a crash.
    public var marker: String
    /// The longest time it may take.
    public var timeout: Duration
    /// Time between SIGTERM and SIGKILL.
    public var killGrace: Duration
    /// Whether orphans without any marker that appear while it runs are taken for its own when it is ended. Not for the
    /// agent's own tools: those orphans are what an earlier hook left on purpose.
    public var claimsOrphans: Bool
    /// How long a filter of its own may go on writing to its output once it has ended by itself: as in `exec > >(tee file)`, no
    /// shell waits for it.
    public var outputGrace: Duration
    /// How long a stop may come after the command's end by a signal that asks for one: who stops a machine, a control group or
    /// a session tells the command and this process at the same moment.
    public var stopGrace = Duration.milliseconds(200)

    public init(
        executable: String, arguments: [String], folder: String, environment: [[UInt8]], marker: String,
        timeout: Duration, killGrace: Duration, claimsOrphans: Bool = true, outputGrace: Duration = .zero
    ) {
        self.executable = executable
        self.arguments = arguments
        self.folder = folder
        self.environment = environment
        self.marker = marker
        self.timeout = timeout
        self.killGrace = killGrace
        self.claimsOrphans = claimsOrphans
        self.outputGrace = outputGrace
    }
}

/// How a command ended.
public struct Verdict: Sendable {
    /// How the command's own process ended.
    public enum Termination: Sendable, Equatable {
        case exited(Int)
        case signaled(Int)
    }

    /// Why it ended.
    public enum Cause: Sendable, Equatable {
        /// By itself.
        case ended
        /// Its time was up.
        case timedOut
        /// A stop was requested.
        case stopped
    }

    public var termination: Termination
    public var cause: Cause
    /// Ids of processes that could not be ended: another user's, or stuck in the kernel.
    public var survivors: [Int32]
    /// Whether a successful command left processes behind that hold its output open; they live on.
    public var leftBackground: Bool
    public var duration: Duration

    /// Whether it ended by itself with exit code 0.
    public var isSuccess: Bool { cause == .ended && termination == .exited(0) }
}

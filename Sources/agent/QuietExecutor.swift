import CAgentShims
@_spi(ExperimentalCustomExecutors) @_spi(ExperimentalScheduling) import _Concurrency

/// Where the agent's tasks run: at most four threads, never the first one, which takes signals.
///
/// The runtime's own choice, Dispatch's usual pool, has a timer that wakes the process once a second from its first use
/// on. docs/decisions/0010 has the measurements.
final class QuietExecutor: TaskExecutor, SchedulingExecutor {
    /// Call before the first task.
    /// - Returns: 0, or the number of the error where the system has no threads for it.
    static func install() -> Int32 {
        let failure = agent_start_executor()
        guard failure == 0 else { return failure }
        _createExecutors(factory: Factory.self)
        return 0
    }

    private struct Factory: ExecutorFactory {
        static var mainExecutor: any MainExecutor { PlatformExecutorFactory.mainExecutor }
        static let defaultExecutor: any TaskExecutor = QuietExecutor()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        agent_run_job(Self.pointer(job))
    }

    func enqueue<C: Clock>(_ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C) {
        // A clock that counts in something else waits by itself and never comes here.
        guard let delay = delay as? Duration else { fatalError("a clock of \(C.Duration.self)") }
        // What 64 bits of nanoseconds cannot hold is 292 years away.
        let nanoseconds = max(0, min(delay / .nanoseconds(1), 9e18))
        agent_run_job_after(Self.pointer(job), Int64(nanoseconds))
    }

    func enqueue<C: Clock>(_ job: consuming ExecutorJob, at instant: C.Instant, tolerance: C.Duration?, clock: C) {
        enqueue(job, after: clock.now.duration(to: instant), tolerance: tolerance, clock: clock)
    }

    private static func pointer(_ job: consuming ExecutorJob) -> UnsafeMutableRawPointer {
        unsafeBitCast(UnownedJob(job), to: UnsafeMutableRawPointer.self)
    }
}

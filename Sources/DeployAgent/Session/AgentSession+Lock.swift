import Git
import Log
import Logging
import Settings
import Shell

extension AgentSession {
    /// Waits for the workspace's lock: tries once a second, and only the process that has it decides and runs.
    ///
    /// - Parameter limit: how long; nil waits until a stop is requested.
    /// - Returns: nil when there was a stop, or the time was up.
    func acquireLock(
        _ command: String, within limit: Duration? = nil, bell: TriggerBell, stop: StopSignal,
        clock: any Clock<Duration>, vitals: Vitals
    ) async throws -> WorkspaceLock? {
        let start = ContinuousClock.now
        var said = false
        while !stop.isRequested {
            switch try attemptLock(command: command) {
            case .acquired(let lock):
                logger.info(
                    "watching \(settings.remote.map { "\($0.remote.displayURL) \($0.remote.ref ?? "(default branch)") for " } ?? "")\(settings.workspace) every \(DurationText.text(settings.interval)) as \(settings.app) on \(settings.host)"
                )
                return lock
            case .held(let holder):
                // A holder that has just got the lock has not written yet who it is.
                if !said, holder != nil {
                    logger.notice("waiting: \(holder?.holder ?? "another agent") works on \(settings.workspace)")
                    said = true
                }
                if let limit, ContinuousClock.now - start >= limit { return nil }
                vitals.beat(quietFor: .seconds(30))
                _ = await bell.wait(atMost: .seconds(1), clock: clock)
            }
        }
        return nil
    }
}

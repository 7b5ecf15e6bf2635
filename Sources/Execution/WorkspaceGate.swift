import Glibc
package import Shell

/// How commands that run in a workspace beside its deployments, and publishing, which moves its files, meet: by two locks of the
/// kernel's (flock(2)), which end with the process that holds them.
///
/// Who runs a command shares the second lock while it runs, and the first one for the moment in which it takes the second. Who
/// publishes has the first one alone from before it waits until the files have moved: no command begins meanwhile, and those that
/// run are waited for by the second.
package struct WorkspaceGate: Sendable {
    private let gate: String
    private let commands: String
    private let folder: WorkspaceFolder

    /// Between two looks.
    private static let pause = Duration.milliseconds(50)

    package init(_ folder: WorkspaceFolder) {
        self.folder = folder
        gate = folder.path + "/publishing"
        commands = folder.path + "/commands"
    }

    /// Waits until no files move.
    ///
    /// - Returns: what a command needs for as long as it runs; nil when a stop was requested.
    /// - Throws: `HostTrouble` when there can be no lock.
    package func enter(stop: StopSignal) async throws(HostTrouble) -> GateLock? {
        while !stop.isRequested {
            if let first = try GateLock.take(gate, isShared: true, folder) {
                // Nobody has this one alone without the first.
                if let second = try GateLock.take(commands, isShared: true, folder) {
                    return withExtendedLifetime(first) { second }
                }
            }
            await Execution.pause(Self.pause, stop)
        }
        return nil
    }

    /// The right to move files.
    package struct Turn: Sendable {
        private let locks: [GateLock]
        /// Whether no command runs in the workspace.
        package let isAlone: Bool

        init(_ locks: [GateLock], isAlone: Bool) {
            self.locks = locks
            self.isAlone = isAlone
        }
    }

    /// Waits for the commands that run, and keeps others from beginning for as long as the turn lasts.
    ///
    /// - Parameters:
    ///   - limit: how long; then files move all the same.
    ///   - waiting: is called once when there is something to wait for.
    /// - Throws: `HostTrouble` when there can be no lock.
    package func publish(
        atMost limit: Duration, stop: StopSignal, waiting: () -> Void
    ) async throws(HostTrouble) -> Turn {
        let deadline = ContinuousClock.now + limit
        var (first, isSaid): (GateLock?, Bool) = (nil, false)
        while true {
            if first == nil { first = try GateLock.take(gate, isShared: false, folder) }
            if let first, let second = try GateLock.take(commands, isShared: false, folder) {
                return Turn([first, second], isAlone: true)
            }
            guard ContinuousClock.now < deadline, !stop.isRequested else {
                return Turn(first.map { [$0] } ?? [], isAlone: false)
            }
            if !isSaid { waiting() }
            isSaid = true
            await Execution.pause(min(Self.pause, max(.milliseconds(1), deadline - .now)), stop)
        }
    }
}

/// A lock on a file; it ends with the last reference to it.
package final class GateLock: Sendable {
    private let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// - Returns: nil when somebody else has it.
    fileprivate static func take(
        _ path: String, isShared: Bool, _ folder: WorkspaceFolder
    ) throws(HostTrouble) -> GateLock? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw HostTrouble("cannot open \(path): \(errorText(errno))") }
        folder.own(descriptor)
        if flock(descriptor, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 { return GateLock(descriptor) }
        let reason = errno
        close(descriptor)
        guard reason == EWOULDBLOCK || reason == EINTR else {
            throw HostTrouble("cannot lock \(path): \(errorText(reason))")
        }
        return nil
    }
}

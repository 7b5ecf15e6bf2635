import CAgentShims
import Glibc
import Synchronization

/// The agent's children: those that it spawned and waits for, and orphans of runs that it adopted as their sub-reaper
/// (prctl(2), PR_SET_CHILD_SUBREAPER), which it must reap itself.
enum Children {
    private struct State {
        /// Spawns whose process id is not known yet: no ended child may be reaped, it could be one of these.
        var spawning = 0
        /// Processes that their own caller reaps.
        var owned: Set<Int32> = []
        /// Markers of every command run so far: a process that carries one of them belongs to that command.
        var markers: Set<String> = []
        /// Readers of output that background processes hold open.
        var drains: Set<Int32> = []
    }

    private static let state = Mutex(State())
    private static let subreaper: Bool = agent_become_subreaper() == 0

    /// Announces a spawn; `spawned` or `spawnFailed` ends it.
    static func willSpawn(_ marker: String) {
        _ = subreaper
        state.withLock {
            $0.spawning += 1
            $0.markers.insert(marker)
        }
    }

    /// Whether a marker is that of a command which this process ran.
    static func isKnown(_ marker: String) -> Bool {
        state.withLock { $0.markers.contains(marker) }
    }

    static func spawned(_ pid: Int32) {
        state.withLock {
            $0.spawning -= 1
            $0.owned.insert(pid)
        }
    }

    static func spawnFailed() {
        state.withLock { $0.spawning -= 1 }
    }

    /// Says that the caller has reaped its child.
    static func reaped(_ pid: Int32) {
        _ = state.withLock { $0.owned.remove(pid) }
    }

    /// Hands the reading end of a pipe to a process that outlives the agent, so that writers never get SIGPIPE.
    static func drain(_ descriptor: Int32) {
        // Under the lock: a drain that ends at once must not be taken for an orphan before its id is known.
        state.withLock {
            let pid = agent_spawn_drain(descriptor)
            if pid > 0 { $0.drains.insert(pid) }
        }
    }

    /// Whether a process belongs to the agent itself rather than to the run that is to be ended.
    static func isOwn(_ pid: Int32) -> Bool {
        state.withLock { $0.owned.contains(pid) || $0.drains.contains(pid) }
    }

    /// Reaps adopted orphans that have ended. Cost when there is none: one system call.
    static func reapOrphans() {
        state.withLock { state in
            guard state.spawning == 0 else { return }
            // The kernel shows one ended child at a time; an owned one is its caller's and hides those behind it
            // until it is reaped, when this is called again.
            while case let pid = agent_peek_ended_child(), pid > 0, !state.owned.contains(pid) {
                var status: Int32 = 0
                waitpid(pid, &status, WNOHANG)
                state.drains.remove(pid)
            }
        }
    }
}

/// Reaps what earlier runs left behind and has ended since. Cheap: call it before each check.
public func reapOrphans() {
    Children.reapOrphans()
}

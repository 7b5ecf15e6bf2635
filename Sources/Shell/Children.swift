import CAgentShims
import Glibc
import Synchronization

/// The agent's children: those that it spawned and waits for, and orphans of runs that it adopted as their sub-reaper
/// (prctl(2), PR_SET_CHILD_SUBREAPER), which it must reap itself.
enum Children {
    private struct State {
        /// Whether a spawn is under way: its process id is not known yet, so no ended child may be reaped, it could be that
        /// one; and whatever is spawned meanwhile would get the same mark.
        var isSpawning = false
        /// Those that wait for their turn to spawn.
        var waiting: [@Sendable () -> Void] = []
        /// Processes that their own caller reaps.
        var owned: Set<Int32> = []
        /// Helpers that nobody waits for: readers of output that background processes hold open, guards.
        var helpers: Set<Int32> = []
    }

    private static let state = Mutex(State())
    private static let subreaper: Bool = agent_become_subreaper() == 0

    /// Waits for its turn and begins a spawn, whose process will have the marker's mark; `spawned` or `spawnFailed` ends it.
    /// Blocks while another spawn is under way, a millisecond.
    static func willSpawn(_ marker: String) {
        waitForTurn()
        LimitMark(marker: marker).begin()
    }

    private static func waitForTurn() {
        let isMyTurn = Cell(false)
        let turn = StopSignal()
        takeTurn {
            isMyTurn.set(true)
            turn.request()
        }
        while !isMyTurn.get() { _ = turn.wait(atMost: .milliseconds(10)) }
    }

    private static func takeTurn(_ go: @escaping @Sendable () -> Void) {
        _ = subreaper
        let isFree = state.withLock { state in
            if state.isSpawning { state.waiting.append(go) }
            defer { state.isSpawning = true }
            return !state.isSpawning
        }
        if isFree { go() }
    }

    static func spawned(_ pid: Int32) {
        endTurn { $0.owned.insert(pid) }
    }

    static func spawnFailed() {
        endTurn { _ in }
    }

    private static func endTurn(_ change: (inout State) -> Void) {
        LimitMark.end()
        let next = state.withLock { state in
            change(&state)
            // The turn passes on without a moment in which another could take it.
            guard !state.waiting.isEmpty else {
                state.isSpawning = false
                return nil as (@Sendable () -> Void)?
            }
            return state.waiting.removeFirst()
        }
        next?()
    }

    /// Says that the caller has reaped its child.
    static func reaped(_ pid: Int32) {
        _ = state.withLock { $0.owned.remove(pid) }
    }

    /// Says that the caller does not wait any longer for its child, which could not be ended.
    static func abandoned(_ pid: Int32) {
        state.withLock { state in
            state.owned.remove(pid)
            state.helpers.insert(pid)
        }
    }

    /// Hands the reading end of a pipe to a process that outlives the agent, so that writers never get SIGPIPE.
    static func drain(_ descriptor: Int32) {
        _ = spawnHelper { agent_spawn_drain(descriptor) }
    }

    /// Spawns a process that nobody waits for, without any run's mark. Blocks while another spawn is under way.
    ///
    /// - Returns: its id, -1 when there is none.
    static func spawnHelper(_ spawn: () -> Int32) -> Int32 {
        waitForTurn()
        // In the turn: one that ends at once must not be taken for an orphan before its id is known.
        let pid = spawn()
        endTurn { if pid > 0 { $0.helpers.insert(pid) } }
        return pid
    }

    /// Whether a process belongs to the agent itself rather than to the run that is to be ended.
    static func isOwn(_ pid: Int32) -> Bool {
        state.withLock { $0.owned.contains(pid) || $0.helpers.contains(pid) }
    }

    /// Kills and reaps adopted orphans that have a run's mark, as fast as that can be done.
    ///
    /// - Parameter leader: the run's own process, which its caller reaps.
    /// - Returns: how many it killed.
    static func killOrphans(_ mark: LimitMark, leader: Int32) -> Int {
        // Under the lock nobody else reaps.
        state.withLock { _ in Int(agent_kill_marked_children(mark.value, leader)) }
    }

    /// Reaps adopted orphans that have ended. Cost when there is none: one system call.
    static func reapOrphans() {
        state.withLock { state in
            guard !state.isSpawning else { return }
            // The kernel shows one ended child at a time; an owned one is its caller's and hides those behind it
            // until it is reaped, when this is called again.
            while case let pid = agent_peek_ended_child(), pid > 0, !state.owned.contains(pid) {
                var status: Int32 = 0
                waitpid(pid, &status, WNOHANG)
                state.helpers.remove(pid)
            }
        }
    }
}

/// Reaps what earlier runs left behind and has ended since. Cheap: call it before each check.
public func reapOrphans() {
    Children.reapOrphans()
}

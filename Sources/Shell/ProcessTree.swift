import CAgentShims
import Glibc

/// All processes of one run, wherever they went: its session, whatever has its mark among its limits or its marker in its
/// environment, orphans that the agent adopted, and the descendants of all of these.
struct ProcessTree {
    let mark: ProcessMark
    /// Whether orphans that became children of this process are the run's: only while this process is its sub-reaper.
    let includesAdopted: Bool
    /// A process that is none of the run's, whatever it looks like; 0 for none.
    var spared: Int32 = 0

    /// The living processes of the run at this moment.
    func members() -> [ProcessEntry] {
        let me = getpid()
        // Whatever belongs to the run was started after its own process. Where there are thousands of others, looking into each
        // takes seconds.
        let oldest = mark.pid != nil && mark.isOfThisBoot ? mark.startTime : 0
        let table = ProcessTable.all().filter {
            $0.pid != me && $0.pid != 1 && $0.pid != spared && $0.startTime >= oldest
        }
        let session = knownSession(in: table)
        let marker = Array(mark.marker.utf8)
        let limit = LimitMark(marker: mark.marker)
        var found: Set<Int32> = []
        var marked: Set<Int32> = []
        for entry in table {
            // Its own process counts also where it leads no session.
            if entry.session == session || entry.pid == session {
                found.insert(entry.pid)
                continue
            }
            // One that has ended has neither limits nor environment.
            if entry.isZombie { continue }
            if LimitMark(of: entry.pid) == limit {
                found.insert(entry.pid)
                continue
            }
            let value = ProcessTable.variable(Command.markerVariable, of: entry.pid)
            if value == marker { found.insert(entry.pid) } else if value != nil { marked.insert(entry.pid) }
        }
        if includesAdopted {
            // What is not the agent's own child became one as an orphan. It is this run's unless it is older, has another
            // run's mark or marker, or is a child being spawned just now, which still runs our program.
            for entry in table
            where entry.parent == me && entry.startTime >= mark.startTime && !entry.isZombie
                && !Children.isOwn(entry.pid) && !ProcessTable.runsOurProgram(entry.pid)
                && !marked.contains(entry.pid) && LimitMark(of: entry.pid) == nil
            {
                found.insert(entry.pid)
            }
        }
        // Descendants: parents may come after children in the table, so repeat until nothing is added.
        var grew = !found.isEmpty
        while grew {
            grew = false
            for entry in table where !found.contains(entry.pid) && found.contains(entry.parent) {
                found.insert(entry.pid)
                grew = true
            }
        }
        return table.filter { found.contains($0.pid) && !$0.isZombie }
    }

    /// Whether a living process of the run reads from a pipe, as a filter does.
    var hasFilter: Bool { members().contains { ProcessTable.readsFromPipe($0.pid) } }

    /// The session's id while it is certain that it is still the run's.
    private func knownSession(in table: [ProcessEntry]) -> Int32 {
        guard let pid = mark.pid, mark.isOfThisBoot else { return -1 }
        // A leader with another start time has taken over the id, which it could only once the session was empty.
        if let leader = table.first(where: { $0.pid == pid }), leader.startTime != mark.startTime { return -1 }
        return pid
    }

    /// Ends every process of the run: SIGTERM, up to `grace` for them to go, SIGKILL until none is left.
    ///
    /// Blocks: call it on a thread of its own.
    /// - Parameter hurry: once requested, a second is all that is left of the grace.
    /// - Returns: the ids of those that could not be ended within 10 seconds after SIGKILL.
    func end(grace: Duration, hurry: StopSignal? = nil) -> [Int32] {
        let left = terminate(within: grace, hurry)
        // At once: to look for more takes its time where there are many processes. By descriptors alone: an id may have a new
        // owner by now.
        for process in left where process.descriptor >= 0 { process.send(SIGKILL) }
        Self.close(left)
        let clock = ContinuousClock()
        let limit = clock.now + .seconds(10)
        while true {
            // Twice, from two sides: a pass over all processes can miss one that forks and ends meanwhile.
            let orphans = Children.killOrphans(LimitMark(marker: mark.marker), leader: mark.pid ?? 0)
            let alive = members()
            if alive.isEmpty, orphans == 0 { return [] }
            if clock.now >= limit { return alive.map(\.pid) }
            let watched = Self.watch(alive)
            defer { Self.close(watched) }
            for process in watched { process.send(SIGKILL) }
            Self.waitForOne(of: watched, atMost: .milliseconds(200))
        }
    }

    /// - Returns: those that were still there when the time was up; their descriptors are the caller's to close.
    private func terminate(within grace: Duration, _ hurry: StopSignal?) -> [Watched] {
        let clock = ContinuousClock()
        var deadline = clock.now + grace
        var hurry = hurry
        var known: Set<Int32> = []
        while true {
            let alive = members()
            if alive.isEmpty { return [] }
            // What a process starts that has had its SIGTERM and lives on is its way to end in order (a shell's trap): it has
            // until the grace is over. Others that appeared meanwhile get a SIGTERM too.
            let parents = Dictionary(alive.map { ($0.pid, $0.parent) }) { $1 }
            func isStartedToEnd(_ pid: Int32) -> Bool {
                let ancestors = sequence(first: pid) { parents[$0] }.dropFirst().prefix(parents.count)
                return ancestors.contains { known.contains($0) }
            }
            let startedToEnd = Set(alive.map(\.pid).filter(isStartedToEnd))
            let watched = Self.watch(alive)
            for process in watched where known.insert(process.pid).inserted && !startedToEnd.contains(process.pid) {
                process.send(SIGTERM)
                // A stopped process acts on SIGTERM only once it goes on.
                process.send(SIGCONT)
            }
            let remaining = deadline - clock.now
            if remaining <= .zero { return watched }
            // Woken by the first one that ends; then looked at afresh.
            Self.waitForOne(of: watched, atMost: remaining, or: hurry)
            if hurry?.isRequested == true {
                deadline = min(deadline, clock.now + .seconds(1))
                hurry = nil
            }
            if clock.now >= deadline { return watched }
            Self.close(watched)
        }
    }

    private struct Watched {
        var pid: Int32
        /// Stands for the very process; -1 where there are no such descriptors (Linux before 5.3, some sandboxes).
        var descriptor: Int32

        func send(_ signal: Int32) {
            if descriptor >= 0 {
                _ = agent_pidfd_signal(descriptor, signal)
            } else {
                // Its start time was compared a moment ago: the best that can be had.
                kill(pid, signal)
            }
        }
    }

    /// Opens descriptors that stand for these very processes, leaving out those whose id has a new owner.
    private static func watch(_ entries: [ProcessEntry]) -> [Watched] {
        entries.compactMap { entry in
            let descriptor = agent_pidfd_open(entry.pid)
            guard ProcessTable.entry(entry.pid)?.startTime == entry.startTime else {
                if descriptor >= 0 { Glibc.close(descriptor) }
                return nil
            }
            return Watched(pid: entry.pid, descriptor: descriptor)
        }
    }

    private static func close(_ watched: [Watched]) {
        for process in watched where process.descriptor >= 0 { Glibc.close(process.descriptor) }
    }

    /// Returns soon when there is none to wait for (they ended after they were found) or an end cannot be waited for.
    private static func waitForOne(of processes: [Watched], atMost limit: Duration, or hurry: StopSignal? = nil) {
        let canWait = !processes.isEmpty && !processes.contains { $0.descriptor < 0 }
        let descriptors = processes.map(\.descriptor) + [hurry?.descriptor ?? -1]
        var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        _ = poll(&entries, nfds_t(entries.count), (canWait ? limit : min(limit, .milliseconds(10))).pollTimeout)
    }
}

extension Duration {
    /// Milliseconds for poll(2), rounded up so that a wait never ends before its time.
    var pollTimeout: Int32 {
        guard self > .zero else { return 0 }
        let parts = components
        let milliseconds = parts.seconds.multipliedReportingOverflow(by: 1000)
        guard !milliseconds.overflow, milliseconds.partialValue < Int64(Int32.max) - 1000 else { return Int32.max }
        return Int32(milliseconds.partialValue + (parts.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

/// Ends what is left of a run whose agent died: its session and whatever carries its marker.
///
/// - Parameter grace: time between SIGTERM and SIGKILL.
/// - Returns: how many processes were found, and the ids of those that could not be ended.
public func endSurvivors(of mark: ProcessMark, grace: Duration) async -> (found: Int, survivors: [Int32]) {
    await onSomeThread("end-survivors") {
        let tree = ProcessTree(mark: mark, includesAdopted: false)
        let found = tree.members().count
        return (found, found == 0 ? [] : tree.end(grace: grace))
    }
}

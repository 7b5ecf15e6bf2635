import CAgentShims
import Glibc

/// All processes of one run, wherever they went: its session, whatever carries its marker, orphans that the agent
/// adopted, and the descendants of all of these.
struct ProcessTree {
    let mark: ProcessMark
    /// Whether orphans that became children of this process are the run's: only while this process is its sub-reaper.
    let includesAdopted: Bool

    /// The living processes of the run at this moment.
    func members() -> [ProcessEntry] {
        let me = getpid()
        let table = ProcessTable.all().filter { $0.pid != me && $0.pid != 1 }
        let session = knownSession(in: table)
        let marker = Array(mark.marker.utf8)
        var found: Set<Int32> = []
        var markers: [Int32: [UInt8]] = [:]
        for entry in table {
            // Its own process counts also where it leads no session.
            if entry.session == session || entry.pid == session {
                found.insert(entry.pid)
                continue
            }
            let value = ProcessTable.variable(Command.markerVariable, of: entry.pid)
            markers[entry.pid] = value
            if value == marker { found.insert(entry.pid) }
        }
        if includesAdopted {
            // What is not the agent's own child became one as an orphan. It is this run's unless it is older, carries
            // another run's marker, or is a child being spawned just now, which still runs our program.
            for entry in table
            where entry.parent == me && entry.startTime >= mark.startTime && !entry.isZombie
                && !Children.isOwn(entry.pid) && !ProcessTable.runsOurProgram(entry.pid)
                && !belongsElsewhere(markers[entry.pid] ?? markerAtLeisure(of: entry.pid))
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

    /// A process has no environment for a moment while it begins to run a program: what shows none is looked at again.
    private func markerAtLeisure(of pid: Int32) -> [UInt8]? {
        usleep(2000)
        return ProcessTable.variable(Command.markerVariable, of: pid)
    }

    /// Whether a marker names another run. One that a process made up itself does not.
    private func belongsElsewhere(_ marker: [UInt8]?) -> Bool {
        marker.map { Children.isKnown(String(decoding: $0, as: UTF8.self)) } ?? false
    }

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
    /// - Returns: the ids of those that could not be ended within 10 seconds after SIGKILL.
    func end(grace: Duration) -> [Int32] {
        let clock = ContinuousClock()
        let deadline = clock.now + grace
        var terminated: Set<Int32> = []
        while true {
            let alive = members()
            if alive.isEmpty { return [] }
            // Processes that appeared meanwhile get their SIGTERM too; those that had one are only waited for.
            let watched = Self.watch(alive)
            defer { watched.forEach { close($0.descriptor) } }
            for process in watched where terminated.insert(process.pid).inserted {
                _ = agent_pidfd_signal(process.descriptor, SIGTERM)
                // A stopped process acts on SIGTERM only once it goes on.
                _ = agent_pidfd_signal(process.descriptor, SIGCONT)
            }
            let remaining = deadline - clock.now
            if remaining <= .zero { break }
            // Woken by the first one that ends; then looked at afresh.
            Self.waitForOne(of: watched, atMost: remaining)
        }
        let limit = clock.now + .seconds(10)
        var alive = members()
        while !alive.isEmpty, clock.now < limit {
            let watched = Self.watch(alive)
            defer { watched.forEach { close($0.descriptor) } }
            for process in watched { _ = agent_pidfd_signal(process.descriptor, SIGKILL) }
            Self.waitForOne(of: watched, atMost: .milliseconds(200))
            alive = members()
        }
        return alive.map(\.pid)
    }

    private struct Watched {
        var pid: Int32
        var descriptor: Int32
    }

    /// Opens descriptors that stand for these very processes, leaving out those whose id has a new owner.
    private static func watch(_ entries: [ProcessEntry]) -> [Watched] {
        entries.compactMap { entry in
            let descriptor = agent_pidfd_open(entry.pid)
            guard descriptor >= 0 else { return nil }
            guard ProcessTable.entry(entry.pid)?.startTime == entry.startTime else {
                close(descriptor)
                return nil
            }
            return Watched(pid: entry.pid, descriptor: descriptor)
        }
    }

    private static func waitForOne(of processes: [Watched], atMost limit: Duration) {
        var entries = processes.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        _ = poll(&entries, nfds_t(entries.count), limit.pollTimeout)
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
    await onDedicatedThread("end-survivors") {
        let tree = ProcessTree(mark: mark, includesAdopted: false)
        let found = tree.members().count
        return (found, found == 0 ? [] : tree.end(grace: grace))
    }
}

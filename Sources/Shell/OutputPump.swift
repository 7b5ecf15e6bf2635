import CAgentShims
import Glibc
import Threads

/// Moves what a command prints from its pipes to their sinks, on a thread of its own, until each pipe ends or the command has ended
/// and the pipe is empty.
final class OutputPump: Sendable {
    private let pipes: [(readEnd: Int32, sink: any OutputSink)]
    private let ended = StopSignal()
    private let drained = StopSignal()
    private let heldOpen = Cell(false)

    /// Begins; the reading ends are the pump's to close.
    ///
    /// - Throws: `NoThread`, also when the system has no descriptor left.
    init(_ pipes: [(readEnd: Int32, sink: any OutputSink)]) throws(NoThread) {
        self.pipes = pipes
        guard ended.descriptor >= 0, drained.descriptor >= 0 else { throw NoThread(name: "output", code: EMFILE) }
        try startThread("output") {
            self.heldOpen.set(self.pump())
            self.drained.request()
        }
    }

    /// Blocks until everything was moved; returns whether background processes still hold a pipe.
    func wait() -> Bool {
        while !drained.wait(atMost: .seconds(3600)) {}
        return heldOpen.get()
    }

    /// Says that the command's own process has ended: what is in the pipes now is the rest of its output.
    func commandEnded() {
        ended.request()
    }

    /// Blocks until every pipe has ended, at most so long; returns whether they have: nobody is left who could write.
    func waitForEnd(atMost limit: Duration) -> Bool {
        drained.wait(atMost: limit)
    }

    private enum Reading {
        case more, end
        /// Empty, but some process may still write to it.
        case heldOpen
    }

    /// Pumps, then closes the reading ends or, where background processes still hold a pipe, hands them to a drain.
    ///
    /// - Returns: whether background processes still hold a pipe.
    private func pump() -> Bool {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 16)
        defer { buffer.deallocate() }
        var entries =
            pipes.map { pollfd(fd: $0.readEnd, events: Int16(POLLIN), revents: 0) }
            + [pollfd(fd: ended.descriptor, events: Int16(POLLIN), revents: 0)]
        // Once the command has ended at most a pipe's worth of its output is left. Counting it down ends the pump also
        // when a background process writes without pause.
        var budgets: [Int]?
        var open = Set(pipes.indices)
        var heldOpen = false
        while !open.isEmpty {
            if budgets == nil {
                guard poll(&entries, nfds_t(entries.count), -1) >= 0 else { continue }
                if entries[pipes.count].revents != 0 {
                    budgets = pipes.map { max(0, Int(agent_pipe_capacity($0.readEnd))) }
                    for pipe in pipes { _ = agent_set_blocking(pipe.readEnd, 0) }
                }
            }
            for index in open.sorted() where budgets != nil || entries[index].revents != 0 {
                switch read(pipes[index], buffer, &budgets, index) {
                case .more: continue
                case .end: close(pipes[index].readEnd)
                case .heldOpen:
                    heldOpen = true
                    // The drain gets its descriptor before ours is closed: at no moment has the pipe no reader. Whether a read
                    // blocks is a matter of the open file, which both share.
                    _ = agent_set_blocking(pipes[index].readEnd, 1)
                    Children.drain(pipes[index].readEnd)
                    close(pipes[index].readEnd)
                }
                pipes[index].sink.finish()
                entries[index].fd = -1
                entries[index].revents = 0
                open.remove(index)
            }
        }
        return heldOpen
    }

    /// Reads a piece.
    private func read(
        _ pipe: (readEnd: Int32, sink: any OutputSink), _ buffer: UnsafeMutableRawBufferPointer,
        _ budgets: inout [Int]?, _ index: Int
    ) -> Reading {
        if let left = budgets?[index], left <= 0, hasWriter(pipe.readEnd) { return .heldOpen }
        let count = Glibc.read(pipe.readEnd, buffer.baseAddress, buffer.count)
        guard count > 0 else { return count == 0 ? .end : errno == EAGAIN ? .heldOpen : errno == EINTR ? .more : .end }
        pipe.sink.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        budgets?[index] -= count
        return .more
    }

    private func hasWriter(_ readEnd: Int32) -> Bool {
        var entry = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
        _ = poll(&entry, 1, 0)
        return entry.revents & Int16(POLLHUP) == 0
    }
}

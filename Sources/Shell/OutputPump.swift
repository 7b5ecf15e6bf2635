import CAgentShims
import Glibc

/// Moves what a command prints from its pipe to a sink, on a thread of its own, until the pipe ends or the command has
/// ended and the pipe is empty.
final class OutputPump: Sendable {
    private let readEnd: Int32
    private let sink: any OutputSink
    private let ended = StopSignal()

    init(readEnd: Int32, sink: any OutputSink) {
        self.readEnd = readEnd
        self.sink = sink
    }

    /// Says that the command's own process has ended: what is in the pipe now is the rest of its output.
    func commandEnded() {
        ended.request()
    }

    /// Pumps, then closes the reading end or, when background processes still hold the pipe, hands it to a drain.
    ///
    /// Blocks: call it on a thread of its own.
    /// - Returns: whether background processes still hold the pipe.
    func pump() -> Bool {
        let size = 256 * 1024
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        var entries = [
            pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0),
            pollfd(fd: ended.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        // Once the command has ended at most a pipe's worth of its output is left. Counting it down ends the pump also
        // when a background process writes without pause.
        var budget: Int?
        var heldOpen = false
        while true {
            if budget == nil {
                guard poll(&entries, 2, -1) >= 0 || errno == EINTR else { break }
                if entries[1].revents != 0 {
                    budget = max(0, Int(agent_pipe_capacity(readEnd)))
                    _ = agent_set_blocking(readEnd, 0)
                } else if entries[0].revents == 0 {
                    continue
                }
            }
            if let left = budget, left <= 0 {
                heldOpen = true
                break
            }
            let count = read(readEnd, buffer.baseAddress, size)
            if count > 0 {
                sink.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                budget = budget.map { $0 - count }
            } else if count == 0 {
                break
            } else if errno == EAGAIN {
                heldOpen = true
                break
            } else if errno != EINTR {
                break
            }
        }
        sink.finish()
        // The drain gets its descriptor before ours is closed: at no moment has the pipe no reader. Whether a read blocks is
        // a matter of the open file, which both share.
        if heldOpen {
            _ = agent_set_blocking(readEnd, 1)
            Children.drain(readEnd)
        }
        close(readEnd)
        return heldOpen
    }
}

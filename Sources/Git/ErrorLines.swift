import Shell
import Synchronization

/// What git says on standard error: its last lines, without those of the trace, however long that is.
final class ErrorLines: OutputSink {
    private struct State {
        var line: [UInt8] = []
        var lines: [Substring] = []
        var trace = CurlTrace()

        mutating func end() {
            defer { line.removeAll(keepingCapacity: true) }
            guard !line.isEmpty else { return }
            let text = String(decoding: line, as: UTF8.self)[...]
            if trace.takes(text) { return }
            lines.append(text)
            if lines.count > ErrorLines.limit { lines.removeFirst() }
        }
    }

    private static let limit = 64
    private static let longest = 16 * 1024
    private let state = Mutex(State())

    func receive(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            for byte in bytes {
                if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                    state.end()
                } else if state.line.count < Self.longest {
                    state.line.append(byte)
                }
            }
        }
    }

    func finish() { state.withLock { $0.end() } }

    var lines: [Substring] { state.withLock { $0.lines } }

    /// What a server that is too busy asked for.
    var retryAfter: Duration? { state.withLock { $0.trace.retryAfter() } }
}

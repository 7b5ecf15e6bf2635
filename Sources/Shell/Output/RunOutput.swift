import Synchronization

/// What becomes of a run's output: secrets are masked, then it goes to the log file, to the record's tail, and to the
/// agent's own log.
public final class RunOutput: OutputSink {
    private struct State {
        var masker: Masker
        var log: RunLog
        var tail: TailBuffer
    }

    private let state: Mutex<State>
    private let lines: any OutputSink

    /// The longest that a log file gets: 10 MiB.
    public static let logLimit = 10 * 1024 * 1024
    /// How much of the end the record keeps: 64 KiB.
    public static let tailLimit = 64 * 1024

    /// - Parameters:
    ///   - path: the log file.
    ///   - lines: receives the masked bytes as they come.
    public init(path: String, secrets: Secrets, lines: any OutputSink) {
        self.lines = lines
        state = Mutex(
            State(
                masker: Masker(secrets), log: RunLog(path: path, limit: Self.logLimit),
                tail: TailBuffer(capacity: Self.tailLimit)))
    }

    public func receive(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            var masker = state.masker
            masker.push(bytes) { pass($0, &state) }
            state.masker = masker
        }
    }

    public func finish() {
        state.withLock { state in
            var masker = state.masker
            masker.finish { pass($0, &state) }
            state.masker = masker
            state.log.close()
        }
        lines.finish()
    }

    private func pass(_ bytes: UnsafeRawBufferPointer, _ state: inout State) {
        state.log.append(bytes)
        state.tail.append(bytes)
        lines.receive(bytes)
    }

    /// Why the log file is incomplete, nil when it is not. Meaningful after the run.
    public var logFailure: String? {
        state.withLock { $0.log.failure }
    }

    /// The last 64 KiB as valid text: what is no UTF-8 and NUL become U+FFFD.
    public var tail: String {
        let bytes = state.withLock { state in
            var bytes: [UInt8] = []
            state.tail.forEachPiece { bytes.append(contentsOf: $0) }
            // The ring may begin inside a character.
            if state.tail.total > Self.tailLimit {
                bytes.removeFirst(bytes.prefix(3).prefix { $0 & 0xC0 == 0x80 }.count)
            }
            return bytes
        }
        var text = String(decoding: bytes, as: UTF8.self)
        if bytes.contains(0) { text = String(text.map { $0 == "\0" ? "\u{FFFD}" : $0 }) }
        // Repairing may have made it longer.
        while text.utf8.count > Self.tailLimit { text = String(text.dropFirst(max(1, text.count / 16))) }
        return text
    }
}

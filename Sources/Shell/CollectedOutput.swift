import Synchronization

/// Keeps a command's output in memory, up to a limit; the rest is counted and dropped.
public final class CollectedOutput: OutputSink {
    private let limit: Int
    private let state = Mutex<(bytes: [UInt8], dropped: Int)>(([], 0))

    /// - Parameter limit: in bytes.
    public init(limit: Int) {
        self.limit = limit
    }

    public func receive(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            let taken = min(bytes.count, limit - state.bytes.count)
            state.bytes.append(contentsOf: bytes.prefix(taken))
            state.dropped += bytes.count - taken
        }
    }

    public func finish() {}

    public var bytes: [UInt8] { state.withLock { $0.bytes } }

    /// Whether more came than the limit allows.
    public var isTruncated: Bool { state.withLock { $0.dropped > 0 } }

    public var text: String { String(decoding: bytes, as: UTF8.self) }
}

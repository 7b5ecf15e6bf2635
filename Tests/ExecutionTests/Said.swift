import Logging
import Synchronization

/// Keeps what is logged.
final class Said: LogHandler, Sendable {
    private let state = Mutex<[String]>([])

    var messages: [String] { state.withLock { $0 } }

    func log(event: LogEvent) { state.withLock { $0.append("\(event.message)") } }

    var logLevel: Logger.Level {
        get { .trace }
        set {}
    }
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
}

import Glibc
import NIOCore
import Synchronization

/// The server's open connections: at most so many, so that clients take neither the descriptors that hooks and git need
/// nor each other's places.
///
/// A connection over the limit is not refused: the one that has had no answer for the longest time is closed for it. So
/// clients that say nothing, or never end what they say, keep nobody else out.
final class Connections: Sendable {
    private struct Connection {
        let channel: any Channel
        /// When it was opened or answered last.
        var since: NIODeadline
    }

    private let limit: Int
    private let open = Mutex<[ObjectIdentifier: Connection]>([:])

    init(limit: Int) {
        self.limit = limit
    }

    /// A quarter of the descriptors that the process may have (`RLIMIT_NOFILE`, setrlimit(2)), 256 at most. The limit itself
    /// is left alone: hooks and the app inherit it, and programs with select(2) rely on its usual 1024.
    static var usualLimit: Int {
        var descriptors = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &descriptors) == 0 else { return 256 }
        return max(1, Int(clamping: min(descriptors.rlim_cur / 4, 256)))
    }

    /// Goes into every connection's pipeline.
    func handler() -> some RemovableChannelHandler {
        ConnectionHandler(connections: self)
    }

    /// Notes that a request was answered.
    func answered(_ channel: any Channel) {
        open.withLock { $0[ObjectIdentifier(channel)]?.since = .now() }
    }

    func closeAll() {
        for channel in open.withLock({ $0.values.map(\.channel) }) { channel.close(promise: nil) }
    }

    fileprivate func add(_ channel: any Channel) {
        let surplus = open.withLock { open in
            let oldest = open.count < limit ? nil : open.min { $0.value.since < $1.value.since }
            // At once: its handler is told of the end only once this turn of the event loop is over, and until then a
            // second connection must not close the same one.
            if let oldest { open[oldest.key] = nil }
            open[ObjectIdentifier(channel)] = Connection(channel: channel, since: .now())
            return oldest?.value.channel
        }
        surplus?.close(promise: nil)
    }

    fileprivate func remove(_ channel: any Channel) {
        open.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(channel)) }
    }
}

/// Tells of a connection's begin and end.
private final class ConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never

    private let connections: Connections

    init(connections: Connections) {
        self.connections = connections
    }

    func handlerAdded(context: ChannelHandlerContext) {
        connections.add(context.channel)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        connections.remove(context.channel)
    }
}

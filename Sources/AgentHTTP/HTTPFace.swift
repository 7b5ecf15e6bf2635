public import DeployAgent
import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle
import Settings
import Shell

/// The small HTTP server beside the check loop: health, readiness, metrics.
///
/// A port that is taken is a warning: neither the checks nor the app depend on being looked at.
public struct HTTPFace: Service {
    private let session: AgentSession
    private let vitals: Vitals
    private let version: String
    private let inForce: InForce
    private let bell: TriggerBell
    private let isUp: Latch

    /// - Parameters:
    ///   - bell: is rung by the webhook.
    ///   - isUp: is opened once requests are answered, or it is certain that they will not be.
    public init(
        session: AgentSession, inForce: InForce, vitals: Vitals, bell: TriggerBell, version: String, isUp: Latch
    ) {
        self.session = session
        self.vitals = vitals
        self.inForce = inForce
        self.bell = bell
        self.version = version
        self.isUp = isUp
    }

    public func run() async throws {
        defer { isUp.open() }
        let settings = session.settings.http
        guard settings.isEnabled else {
            isUp.open()
            return try await waitForEnd()
        }
        let router = Router(options: .autoGenerateHeadEndpoints)
        HealthRoutes(vitals: vitals).add(to: router)
        MetricsRoute(vitals: vitals, version: version).add(to: router)
        APIRoutes(session: session, inForce: inForce, bell: bell).add(to: router)
        WebhookRoute(settings: settings, inForce: inForce, vitals: vitals, bell: bell).add(to: router)
        do {
            try await serve(router.buildResponder(), settings)
        } catch {
            session.logger.warning(
                "no health checks and metrics on \(settings.host):\(settings.port): \(Self.problem(error)), ENABLE_DEV_HEALTH=false does without"
            )
            isUp.open()
            try await waitForEnd()
        }
    }

    /// How long a request may take, above all to arrive.
    private static let requestTime = TimeAmount.seconds(10)
    /// How long requests that are under way may take once the agent ends.
    private static let closingTime = TimeAmount.seconds(1)

    /// Serves until the agent ends.
    private func serve(_ responder: some HTTPResponder<BasicRequestContext>, _ settings: HTTPSettings) async throws {
        try await expectResources(descriptors: 8, for: "the HTTP server")
        let eventLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let connections = Connections(limit: Connections.usualLimit)
        let server = try server(responder, settings, eventLoop, connections)
        try await withGracefulShutdownHandler {
            try await server.run()
        } onGracefulShutdown: {
            // The server waits for requests that are under way, and a client takes as long as it likes.
            eventLoop.next().scheduleTask(in: Self.closingTime) { connections.closeAll() }
        }
    }

    /// Hummingbird's server without its `Application`, whose cache of the date wakes the process every second.
    private func server(
        _ responder: some HTTPResponder<BasicRequestContext>, _ settings: HTTPSettings, _ eventLoop: any EventLoopGroup,
        _ connections: Connections
    ) throws -> any Service {
        var quiet = Logger(label: "http")
        quiet.logLevel = .critical
        let logger = quiet
        let configuration = HTTP1Channel.Configuration(
            additionalChannelHandlers: [connections.handler()],
            // A client that sends nothing keeps its connection only so long.
            idleTimeout: .seconds(60))
        return try HTTPServerBuilder.http1(configuration: configuration).buildServer(
            configuration: ServerConfiguration(address: .hostname(settings.host, port: settings.port)),
            eventLoopGroup: eventLoop, logger: logger,
            responder: { request, writer, channel in
                let context = BasicRequestContext(
                    source: ApplicationRequestContextSource(channel: channel, logger: logger))
                // No more of the request is read then; what is answered already, or needs no more of it, still goes out.
                let deadline = channel.eventLoop.scheduleTask(in: Self.requestTime) {
                    channel.close(mode: .input, promise: nil)
                }
                defer { deadline.cancel() }
                var response: Response
                do {
                    response = try await responder.respond(to: request, context: context)
                } catch {
                    response = Response(status: .internalServerError)
                }
                response.headers[.date] = httpDate()
                try await writer.write(response: response.head, body: response.body)
                connections.answered(channel)
            },
            onServerRunning: { [isUp] _ in isUp.open() })
    }

    /// Why nothing listens, and the setting to change.
    private static func problem(_ error: any Error) -> String {
        switch error {
        case let error as IOError:
            let reason = String(cString: strerror(error.errnoCode))
            return error.errnoCode == EADDRINUSE || error.errnoCode == EACCES
                ? "\(reason); DEV_HEALTH_PORT names another port" : "\(reason); AGENT_HTTP_HOST names another address"
        case is SocketAddressError.UnknownHost: return "no such host; AGENT_HTTP_HOST names another address"
        default: return "\(error)"
        }
    }

    private func waitForEnd() async throws {
        try? await gracefulShutdown()
    }
}

/// The time as HTTP has it (RFC 9110, 5.6.7): `Sat, 21 Nov 2026 05:46:27 GMT`.
private func httpDate() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    return
        "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) \(clock) GMT"
}

import Execution
import Glibc
import Settings
import Shell

/// Asks a URL; whoever makes the HTTP requests brings it along.
public typealias HTTPAnswers = @Sendable (String) async -> Bool

/// Waits until the app answers.
struct Readiness: Sendable {
    let waitFor: WaitFor
    let limit: Duration
    let stop: StopSignal
    /// Whether a URL answers with 2xx or 3xx.
    let probe: HTTPAnswers

    /// - Returns: whether it answered in time.
    func wait() async -> Bool {
        let deadline = ContinuousClock.now + limit
        if case .time(let time) = waitFor {
            await pause(min(time, limit), stop)
            return !stop.isRequested && time <= limit
        }
        while ContinuousClock.now < deadline, !stop.isRequested {
            if await answers() { return true }
            await pause(.milliseconds(100), stop)
        }
        return false
    }

    private func answers() async -> Bool {
        switch waitFor {
        case .time: true
        case .port(let port): (try? await onDedicatedThread("ready") { Self.listens(port) }) ?? false
        case .http(let url): await probe(url)
        }
    }

    /// Whether something listens on a port of this host, by IPv4 or IPv6.
    private static func listens(_ port: Int) -> Bool {
        for family in [AF_INET, AF_INET6] {
            let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            if connectLoopback(descriptor, family, UInt16(port)) { return true }
        }
        return false
    }

    private static func connectLoopback(_ descriptor: Int32, _ family: Int32, _ port: UInt16) -> Bool {
        if family == AF_INET {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
        }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        address.sin6_addr = in6addr_loopback
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
            }
        }
    }
}

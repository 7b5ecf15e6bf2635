import AgentHTTP
import Foundation
import Glibc
import Testing

@Suite(.timeLimit(.minutes(1)))
struct HTTPProbeTests {
    @Test(
        "2xx and 3xx are an answer, by name, IPv4 and IPv6",
        arguments: [
            ("127.0.0.1", 200, true), ("127.0.0.1", 302, true), ("127.0.0.1", 404, false), ("127.0.0.1", 503, false),
            ("[::1]", 204, true), ("[::1]", 500, false),
        ])
    func answers(host: String, status: Int, expected: Bool) async throws {
        let server = try OneAnswer(status: status, isIPv6: host.hasPrefix("["))
        let answers = await HTTPProbe.answers("http://\(host):\(server.port)/path?query")
        #expect(answers == expected)
        #expect(server.request.hasPrefix("GET /path?query HTTP/1.1\r\n"))
        #expect(server.request.contains("\r\nHost: \(host):\(server.port)\r\n"), "\(server.request)")
    }

    @Test("what is no URL and what nobody listens on is no answer")
    func none() async throws {
        // Bound and listening, then closed: nobody listens on the port.
        let port = try OneAnswer(status: 200, isIPv6: false, isClosed: true).port
        for url in ["", "no url", "http://127.0.0.1:\(port)/", "http://[::1"] {
            let answers = await HTTPProbe.answers(url)
            #expect(!answers, "\(url)")
        }
    }
}

/// A server on loopback that answers one request.
private final class OneAnswer: @unchecked Sendable {
    let port: UInt16
    private let done = DispatchSemaphore(value: 0)
    /// Written by the thread before it signals `done`, read after.
    private var received = ""

    init(status: Int, isIPv6: Bool, isClosed: Bool = false) throws {
        let family = isIPv6 ? AF_INET6 : AF_INET
        let listener = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var storage = sockaddr_storage()
        let bound = withUnsafeMutablePointer(to: &storage) { pointer in
            var length = socklen_t(isIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
            if isIPv6 {
                pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    $0.pointee.sin6_family = sa_family_t(AF_INET6)
                    $0.pointee.sin6_addr = in6addr_loopback
                }
            } else {
                pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    $0.pointee.sin_family = sa_family_t(AF_INET)
                    $0.pointee.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
                }
            }
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 1) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        try #require(bound)
        // At the same place for both families.
        port = withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
        // For a client that never comes.
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard !isClosed else {
            close(listener)
            done.signal()
            return
        }
        Thread { [self] in
            defer { done.signal() }
            let connection = accept(listener, nil, nil)
            close(listener)
            guard connection >= 0 else { return }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(connection, &bytes, bytes.count)
            received = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
            let answer = "HTTP/1.1 \(status) X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            _ = answer.withCString { write(connection, $0, strlen($0)) }
            close(connection)
        }.start()
    }

    /// What it was asked; empty when nobody came.
    var request: String {
        done.wait()
        defer { done.signal() }
        return received
    }
}

import Foundation
import Glibc

/// A loopback port that takes nobody and refuses nobody, as a host that is gone from the network does.
public final class LoopbackHole: Sendable {
    public let port: Int
    private let descriptors: [Int32]

    public init() async throws {
        port = try await freeLoopbackPort()
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        var descriptors: [Int32] = []
        func call(_ descriptor: Int32, _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
            withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let listening = socket(AF_INET, type, 0)
        descriptors.append(listening)
        guard call(listening, bind) == 0, listen(listening, 0) == 0 else {
            throw PreparationFailed("port \(port) cannot be listened on: \(errno)")
        }
        // A queue of length 0 holds one connection; the others only fill what else there is.
        for _ in 0..<4 {
            let descriptor = socket(AF_INET, type, 0)
            _ = call(descriptor, connect)
            descriptors.append(descriptor)
        }
        self.descriptors = descriptors
    }

    deinit { descriptors.forEach { close($0) } }
}

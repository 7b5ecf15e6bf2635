import CAgentShims
import Glibc
import Synchronization
import Threads

/// Looks a host's name up on a thread of its own, which is left behind where nobody wants to wait any longer: the system's own
/// call ends when it likes, after 40 seconds where no name server answers.
///
/// Whoever asks for the same name meanwhile gets the same answer, so that there is one such thread for each name at most.
final class NameLookup: Sendable {
    typealias Answer = Result<[String], PostgresError>

    private static let underWay = Mutex<[String: NameLookup]>([:])

    let name: String
    private let state = Mutex<Answer?>(nil)
    /// Readable for good once there is an answer.
    private let descriptor: Int32

    /// - Throws: `PostgresError` `unreachable` when the system has no descriptor or thread left.
    static func of(_ name: String, by ask: @escaping @Sendable (String) -> Answer = askSystem) throws -> NameLookup {
        try underWay.withLock { underWay in
            if let lookup = underWay[name] { return lookup }
            let lookup = try NameLookup(name)
            do {
                try startThread("postgres-names", stackSize: 1024 * 1024) {
                    let answer = ask(name)
                    Self.underWay.withLock { $0[name] = nil }
                    lookup.end(answer)
                }
            } catch {
                throw PostgresError(.unreachable, message: "\(error)")
            }
            underWay[name] = lookup
            return lookup
        }
    }

    private init(_ name: String) throws {
        self.name = name
        descriptor = agent_eventfd()
        guard descriptor >= 0 else {
            throw PostgresError(.unreachable, message: "no descriptor for a name: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    private func end(_ answer: Answer) {
        state.withLock { $0 = answer }
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    /// Nil while there is none.
    var answer: Answer? { state.withLock { $0 } }

    /// Waits until all have an answer, or, where there is a host to go on with, for at most a second more.
    ///
    /// - Parameters:
    ///   - isEnough: whether there is such a host without any of these.
    ///   - cancellation: readable once nobody wants an answer any more.
    /// - Throws: `PostgresError` `cancelled`, or `timedOut` when there is nothing to go on with at the deadline.
    static func wait(
        for lookups: [NameLookup], isEnough: Bool, cancellation: Int32, deadline: ContinuousClock.Instant
    ) throws {
        var isEnough = isEnough
        var deadline = isEnough ? min(deadline, .now + .seconds(1)) : deadline
        while true {
            let left = lookups.filter { $0.answer == nil }
            if left.isEmpty { return }
            if !isEnough, lookups.contains(where: { (try? $0.answer?.get()) != nil }) {
                isEnough = true
                deadline = min(deadline, .now + .seconds(1))
            }
            let remaining = deadline - ContinuousClock.now
            guard remaining > .zero else {
                if isEnough { return }
                let names = left.map { "\"\($0.name)\"" }.joined(separator: ", ")
                throw PostgresError(
                    .timedOut, message: "could not translate host name \(names) to address: no answer in time")
            }
            var entries = (left.map(\.descriptor) + [cancellation]).map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            let milliseconds =
                remaining.components.seconds * 1000 + remaining.components.attoseconds / 1_000_000_000_000_000
            _ = poll(&entries, nfds_t(entries.count), Int32(clamping: milliseconds + 1))
            if entries.last?.revents != 0 { throw PostgresError(.cancelled, message: "it was cancelled") }
        }
    }

    /// All addresses of a name in the system's order, as libpq asks for them (getaddrinfo(3)).
    static func askSystem(_ name: String) -> Answer {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let failure = getaddrinfo(name, nil, &hints, &list)
        guard failure == 0 else {
            let reason = failure == EAI_SYSTEM ? strerror(errno) : UnsafeMutablePointer(mutating: gai_strerror(failure))
            let words = reason.map { String(cString: $0) } ?? "error \(failure)"
            return .failure(
                PostgresError(.unreachable, message: "could not translate host name \"\(name)\" to address: \(words)"))
        }
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        var next = list
        while let entry = next {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            if getnameinfo(
                entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
                == 0
            {
                let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if !addresses.contains(address) { addresses.append(address) }
            }
            next = entry.pointee.ai_next
        }
        return .success(addresses)
    }
}

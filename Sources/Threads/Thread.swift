import CAgentShims
import Glibc

/// The system has no thread for something: a limit of processes and threads is reached (getrlimit(2), RLIMIT_NPROC; pids(7)
/// of a control group), or memory is short.
package struct NoThread: Error, CustomStringConvertible {
    /// What the thread was for.
    package let name: String
    /// The error number.
    package let code: Int32

    package init(name: String, code: Int32) {
        self.name = name
        self.code = code
    }

    package var description: String { "no thread for \"\(name)\": \(String(cString: strerror(code)))" }
}

/// Runs `body` on a thread of its own, which ends with it.
///
/// - Parameters:
///   - name: of the thread; 15 bytes are kept.
///   - stackSize: in bytes.
/// - Throws: `NoThread`; `body` is not called then.
package func startThread(
    _ name: String, stackSize: Int = 512 * 1024, _ body: @escaping @Sendable () -> Void
) throws(NoThread) {
    final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, stackSize)
    var thread = pthread_t()
    let failure = pthread_create(
        &thread, &attributes,
        { raw in
            guard let raw else { return nil }
            let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
            agent_name_thread(start.name)
            start.body()
            return nil
        }, start.toOpaque())
    guard failure == 0 else {
        start.release()
        throw NoThread(name: name, code: failure)
    }
}

import CAgentShims
import Glibc

/// Runs `body` on a thread of its own and waits for it without blocking the cooperative pool.
///
/// For calls that block for as long as a process lives: `poll`, `read` from a pipe. Cancellation has no effect; `body`
/// must end by itself. Cost: one thread, about 30 microseconds.
package func onDedicatedThread<T: Sendable>(_ name: String, _ body: @escaping @Sendable () -> T) async -> T {
    await withCheckedContinuation { continuation in
        startThread(name) { continuation.resume(returning: body()) }
    }
}

/// Starts a detached thread; where the system refuses one, `body` runs on the caller's thread instead.
private func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
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
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 512 * 1024)
    defer { pthread_attr_destroy(&attributes) }
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
    if failure != 0 {
        start.takeRetainedValue().body()
    }
}

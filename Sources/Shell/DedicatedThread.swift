package import Threads

/// Runs `body` on a thread of its own and waits for it without blocking the cooperative pool.
///
/// For calls that block for as long as a process lives: `poll`, `read` from a pipe. Cancellation has no effect; `body`
/// must end by itself. Cost: one thread, about 30 microseconds.
/// - Throws: `NoThread`; `body` is not called then.
package func onDedicatedThread<T: Sendable>(
    _ name: String, _ body: @escaping @Sendable () -> T
) async throws(NoThread) -> T {
    let result: Result<T, NoThread> = await withCheckedContinuation { continuation in
        do throws(NoThread) {
            try startThread(name) { continuation.resume(returning: .success(body())) }
        } catch {
            continuation.resume(returning: .failure(error))
        }
    }
    return try result.get()
}

/// The same for what must be done in any case: where the system has no thread, on the caller's, which it blocks meanwhile.
func onSomeThread<T: Sendable>(_ name: String, _ body: @escaping @Sendable () -> T) async -> T {
    do {
        return try await onDedicatedThread(name, body)
    } catch {
        return body()
    }
}

import Glibc
import Shell
import Threads

/// Returns once everything written so far to the file system of a folder is on its disk (syncfs(2)).
///
/// Cost: what the disk takes for whatever waits to be written there, by anybody.
func writeToDisk(_ path: String) async throws {
    let operation = "write \(path) to disk"
    do {
        let code = try await onDedicatedThread("sync") { synchronize(path) }
        if code != 0, code != ENOSYS {
            throw GitError(.publish, operation: operation, explanation: errorText(code))
        }
    } catch let error as NoThread {
        throw GitError(.publish, operation: operation, explanation: "\(error)")
    }
}

/// Has what `body` writes to the file system of a folder go to the disk while it still writes, so that `writeToDisk` has
/// little left to do after it.
///
/// Returns once `body` has, and the write that was under way then. Cost: a handful of writes of the whole file system, each
/// after twice the pause of the one before; none for what takes less than the first pause.
/// - Throws: what `body` throws, or that of a write: the kernel tells of a failure once, and not to a later one.
func writingToDisk<Result>(
    _ path: String, firstPause: Duration = .milliseconds(20),
    by write: @escaping @Sendable (String) async throws -> Void = writeToDisk, _ body: () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            var pause = firstPause
            while (try? await Task.sleep(for: pause)) != nil {
                try await write(path)
                pause *= 2
            }
        }
        let result = try await body()
        group.cancelAll()
        try await group.waitForAll()
        return result
    }
}

/// - Returns: 0, or the error's number: ENOSYS where the system cannot do it.
private func synchronize(_ path: String) -> Int32 {
    // The C library has it, Swift's module of the C library leaves it out.
    typealias SyncFileSystem = @convention(c) (Int32) -> Int32
    guard let address = dlsym(nil, "syncfs") else { return ENOSYS }
    let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { return errno }
    defer { close(folder) }
    return unsafeBitCast(address, to: SyncFileSystem.self)(folder) == 0 ? 0 : errno
}

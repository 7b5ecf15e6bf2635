import Glibc
import Shell

/// Returns once everything written so far to the file system of a folder is on its disk (syncfs(2)).
///
/// Cost: what the disk takes for whatever waits to be written there, by anybody.
func writeToDisk(_ path: String) async throws {
    let failure: GitError? = await onDedicatedThread("sync") {
        guard syncFileSystem(of: path) || errno == ENOSYS else { return fileFailure("write \(path) to disk") }
        return nil
    }
    if let failure { throw failure }
}

/// Has what `body` writes below a folder go to the disk while it writes still, so that little is left to wait for after it.
/// Says nothing of what is there in the end.
func writingToDisk<Result>(_ path: String, _ body: () async throws -> Result) async rethrows -> Result {
    // It is cancelled when the body has returned, and waited for.
    async let _: Void = {
        // What is written within the pause is too little to begin with.
        while (try? await Task.sleep(for: .milliseconds(20))) != nil {
            await onDedicatedThread("sync") { _ = syncFileSystem(of: path) }
        }
    }()
    return try await body()
}

/// - Returns: false with `errno` set when that failed, or the system cannot do it.
private func syncFileSystem(of path: String) -> Bool {
    // The C library has it, Swift's module of the C library leaves it out.
    typealias SyncFileSystem = @convention(c) (Int32) -> Int32
    guard let address = dlsym(nil, "syncfs") else {
        errno = ENOSYS
        return false
    }
    guard let folder = OpenFolder(path: path) else { return false }
    return unsafeBitCast(address, to: SyncFileSystem.self)(folder.descriptor) == 0
}

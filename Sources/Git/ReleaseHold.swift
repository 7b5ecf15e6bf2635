import Glibc

/// Keeps a release from being removed while somebody works in it, also from another process (flock(2)).
public final class ReleaseHold: Sendable {
    private let descriptor: Int32

    /// - Returns: nil when it is about to be removed, or gone.
    fileprivate init?(_ path: String) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return nil }
        var (held, named) = (stat(), stat())
        // Who removes it has the file alone, and unlinks it.
        guard flock(descriptor, LOCK_SH | LOCK_NB) == 0, fstat(descriptor, &held) == 0, lstat(path, &named) == 0,
            held.st_ino == named.st_ino, held.st_dev == named.st_dev
        else {
            close(descriptor)
            return nil
        }
    }

    deinit { close(descriptor) }
}

extension Release {
    private var inUse: String { administration + "/agent-in-use" }

    /// Keeps it where it is; nil when it is no more.
    public func hold() -> ReleaseHold? { isFolder(path) ? ReleaseHold(inUse) : nil }

    /// Removes it, unless somebody keeps it.
    func removeUnlessHeld() throws {
        // While this is held nobody else gets it; without a folder there is nothing to keep.
        let descriptor = open(inUse, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor < 0 || flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return }
        try remove()
    }
}

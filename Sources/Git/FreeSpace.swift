import Glibc

/// Bytes that this user may still write on the file system of a path; nil where it does not say (a file system without a limit,
/// or one that does not count).
func freeSpace(_ path: String) -> Int? {
    var space = statvfs()
    guard statvfs(path, &space) == 0, space.f_blocks > 0 else { return nil }
    // What is kept for root counts for root alone.
    return Int(geteuid() == 0 ? space.f_bfree : space.f_bavail) * Int(space.f_frsize)
}

import Glibc

/// When the agent published to a checkout last: what nobody has touched since is no change of anybody's, whatever git makes of it
/// (a line end that an attribute would have otherwise, a file that PRE_DEPLOY made).
struct PublishTime {
    private let path: String
    private let time: FileTime?

    /// - Parameter gitFolder: the checkout's own.
    init(in gitFolder: String) {
        path = gitFolder + "/agent-published-at"
        var info = stat()
        // One of the future is of a clock that was set back since: then it says nothing.
        time = lstat(path, &info) == 0 && info.modified <= FileTime.now ? info.modified : nil
    }

    /// Whether the file at a path was last changed before that, by its time of change, which no program can set.
    func isBefore(_ file: String) -> Bool {
        var info = stat()
        guard let time, lstat(file, &info) == 0 else { return false }
        return info.changed <= time
    }

    /// Notes that it has ended now. Where that fails the next publishing names too much.
    func note() {
        unlink(path)
        try? SmallFile.write([], to: path)
    }
}

import Git
import Glibc
import Shell

/// The git that asks remotes, made anew only when what it is made from has changed.
struct RemoteGit {
    /// What it depends on whether a remote can be used: its address, and all that is shown to it.
    struct Basis: Equatable {
        var remote: RemoteSettings
        var access: RemoteAccess
        /// Of the files that git and ssh read themselves.
        var files: [FileStamp?]
        var timeout: Duration
        var killGrace: Duration
    }

    /// Tells a file from the one that was there before.
    struct FileStamp: Equatable {
        var inode: UInt64
        var size: Int64
        var seconds: Int
        var nanoseconds: Int

        init?(_ path: String) {
            var info = stat()
            guard stat(path, &info) == 0 else { return nil }
            (inode, size) = (UInt64(info.st_ino), Int64(info.st_size))
            (seconds, nanoseconds) = (info.st_mtim.tv_sec, info.st_mtim.tv_nsec)
        }
    }

    let environment: ProcessEnvironment
    let marker: String
    let stop: StopSignal
    let log: LogOutput
    private var last: (program: GitProgram, basis: Basis)?

    init(environment: ProcessEnvironment, marker: String, stop: StopSignal, log: LogOutput) {
        self.environment = environment
        self.marker = marker
        self.stop = stop
        self.log = log
    }

    /// - Parameter remote: the app's, or a hook's.
    /// - Throws: `GitError` `unreachable` when a file with credentials cannot be read.
    mutating func program(
        for remote: RemoteSettings, _ settings: Settings
    ) throws -> (program: GitProgram, basis: Basis) {
        let own = settings.git
        let access = RemoteAccess(
            credentials: try own.credentials(for: remote, app: settings.remote), ssh: own.ssh,
            authorityFile: own.authorityFile)
        let basis = Basis(
            remote: remote, access: access,
            files: [own.ssh.keyFile, own.ssh.knownHostsFile, own.authorityFile].map { $0.flatMap(FileStamp.init) },
            timeout: settings.gitTimeout, killGrace: settings.killGrace)
        if let last, last.basis == basis { return last }
        log.learn(Secrets(access.credentials.map(\.password)))
        let program = GitProgram(
            environment: environment.entries, timeout: basis.timeout, killGrace: basis.killGrace, marker: marker,
            stop: stop, access: access)
        last = (program, basis)
        return (program, basis)
    }
}

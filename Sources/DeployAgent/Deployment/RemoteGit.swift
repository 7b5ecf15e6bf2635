import Git
import Glibc
import Log
import Settings
import Shell

/// The git that asks remotes, made anew only when what it is made from has changed.
struct RemoteGit {
    /// What it depends on whether a remote can be used: its address, and all that is shown to it.
    struct Basis: Equatable {
        var remote: RemoteSettings
        var access: RemoteAccess
        /// Of the files that git and ssh read themselves.
        var files: [FileStamp]
        var timeout: Duration
        var killGrace: Duration
    }

    let environment: ProcessEnvironment
    let marker: String
    let stop: StopSignal
    let log: LogOutput
    /// Where git and ssh look by themselves.
    private let filesOfUser: [String]
    private var last: (program: GitProgram, basis: Basis)?

    init(environment: ProcessEnvironment, marker: String, stop: StopSignal, log: LogOutput) {
        self.environment = environment
        self.marker = marker
        self.stop = stop
        self.log = log
        // ssh goes by the user's entry in passwd(5), git and curl by HOME.
        let (ofSSH, own) = (getpwuid(getuid()).map { String(cString: $0.pointee.pw_dir) }, environment["HOME"])
        let configuration = environment["XDG_CONFIG_HOME"] ?? own.map { "\($0)/.config" }
        filesOfUser =
            ["config", "known_hosts", "id_ed25519", "id_ecdsa", "id_rsa"].compactMap { name in
                ofSSH.map { "\($0)/.ssh/\(name)" }
            }
            + [".gitconfig", ".git-credentials", ".netrc"].compactMap { name in own.map { "\($0)/\(name)" } }
            + ["git/config", "git/credentials"].compactMap { name in configuration.map { "\($0)/\(name)" } }
    }

    /// - Parameter remote: the app's, or a hook's.
    /// - Throws: `GitError` `unreachable` when a file with credentials cannot be read.
    mutating func program(
        for remote: RemoteSettings, _ settings: Settings
    ) throws -> (program: GitProgram, basis: Basis) {
        let own = settings.git
        let access = RemoteAccess(
            credentials: try own.credentials(for: remote, app: settings.remote), ssh: own.ssh,
            authorityFile: own.authorityFile, withheld: own.withheldToken(from: settings.remote))
        let basis = Basis(
            remote: remote, access: access,
            files: ([own.ssh.keyFile, own.ssh.knownHostsFile, own.authorityFile].compactMap { $0 } + filesOfUser)
                .map(FileStamp.init),
            timeout: settings.gitTimeout, killGrace: settings.killGrace)
        if let last, last.basis == basis { return last }
        log.learn(Secrets(access.credentials.flatMap(\.secrets)))
        let program = GitProgram(
            environment: environment.entries, timeout: basis.timeout, killGrace: basis.killGrace, marker: marker,
            stop: stop, access: access)
        last = (program, basis)
        return (program, basis)
    }
}

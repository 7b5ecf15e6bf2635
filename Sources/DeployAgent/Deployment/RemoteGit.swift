import Git
import Shell

/// The git that asks a remote, made anew only when what it is made from has changed.
struct RemoteGit {
    private struct Basis: Equatable {
        var remote: RemoteSettings
        var password: String?
        var timeout: Duration
        var killGrace: Duration
    }

    let environment: ProcessEnvironment
    let marker: String
    let stop: StopSignal
    let log: LogOutput
    private var last: (basis: Basis, program: GitProgram)?

    init(environment: ProcessEnvironment, marker: String, stop: StopSignal, log: LogOutput) {
        self.environment = environment
        self.marker = marker
        self.stop = stop
        self.log = log
    }

    /// - Throws: `GitError` `unreachable` when the token's file cannot be read.
    mutating func program(for remote: RemoteSettings, _ settings: Settings) throws -> GitProgram {
        var password = remote.password
        // A token is never sent in the clear.
        if let file = remote.tokenFile, remote.remote.isEncrypted {
            guard let token = Settings.readTokenFile(file) else {
                throw GitError(
                    .unreachable, operation: "read the token",
                    explanation: "\(Setting.tokenFile.name) \(file) cannot be read or is empty")
            }
            log.learn(Secrets([token]))
            password = token
        }
        let basis = Basis(
            remote: remote, password: password, timeout: settings.gitTimeout, killGrace: settings.killGrace)
        if let last, last.basis == basis { return last.program }
        var credential: GitCredential?
        if let origin = remote.remote.httpOrigin, password != nil || remote.user != nil {
            credential = GitCredential(user: remote.user ?? "x-access-token", password: password ?? "", origin: origin)
        }
        let program = GitProgram(
            environment: environment.entries, timeout: basis.timeout, killGrace: basis.killGrace, marker: marker,
            stop: stop, credential: credential)
        last = (basis, program)
        return program
    }
}

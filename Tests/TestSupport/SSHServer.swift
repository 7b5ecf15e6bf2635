import Foundation

/// An sshd of a test's own on a free loopback port, for the user that runs the tests.
public final class SSHServer: Sendable {
    public let port: Int
    /// Files with private keys that may log in, by type: `ed25519`, `rsa`, `ecdsa`.
    public let keys: [String: String]
    private let server: KeptServer

    public init() async throws {
        async let free = freeLoopbackPort()
        let folder = try TemporaryFolder()
        let path = folder.path
        let types = ["ed25519", "rsa", "ecdsa"]
        keys = Dictionary(uniqueKeysWithValues: types.map { ($0, "\(path)/key-\($0)") })
        try await prepared(
            """
            new() { ssh-keygen -q -t "$1" -N '' -C "$2" -f "$2"; }
            \(types.map { "new \($0) key-\($0) & keys=\"$keys $!\"" }.joined(separator: "\n"))
            new ed25519 key-stranger && new ed25519 host-key && new ed25519 other-host-key || exit
            for key in $keys; do wait "$key" || exit; done
            cat \(types.map { "key-\($0).pub" }.joined(separator: " ")) > authorized_keys
            """, in: path)
        port = try await free
        let port = port
        let hosts = "[localhost]:\(port),[127.0.0.1]:\(port)"
        try await prepared(
            """
            echo "\(hosts) $(cut -d ' ' -f 1,2 host-key.pub)" > known_hosts
            echo "\(hosts) $(cut -d ' ' -f 1,2 other-host-key.pub)" > other_known_hosts
            cat > config <<'EOF'
            Port \(port)
            ListenAddress 127.0.0.1
            HostKey \(path)/host-key
            AuthorizedKeysFile \(path)/authorized_keys
            PidFile \(path)/pid
            UsePAM no
            StrictModes no
            PermitRootLogin prohibit-password
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            MaxStartups 100
            AcceptEnv GIT_PROTOCOL
            SetEnv GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*
            EOF
            if [ "$(id -u)" = 0 ]; then mkdir -p -m 755 /run/sshd; fi
            # From 9.8 on it shuts out for a while who failed to log in.
            PATH=$PATH:/usr/sbin
            if "$(command -v sshd)" -t -f config -o PerSourcePenalties=no; then echo PerSourcePenalties no >> config; fi
            """, in: path)
        server = try KeptServer(["\"$(command -v sshd)\" -D -f '\(path)/config' -E '\(path)/log'"], in: folder)
        try await server.started { listens(port) }
    }

    /// - Parameter path: the repository's full path.
    public func url(_ path: String) -> String { "ssh://\(NSUserName())@localhost:\(port)\(path)" }

    /// A private key that may not log in.
    public var strangerKey: String { server.folder.path + "/key-stranger" }

    /// A known_hosts file with the key that the server had at first.
    public var knownHosts: String { server.folder.path + "/known_hosts" }

    /// One with another key for the server.
    public var otherKnownHosts: String { server.folder.path + "/other_known_hosts" }

    /// Gives the server another host key, which is in no known_hosts file.
    public func changeHostKey() async throws {
        let path = server.folder.path
        let key = try await prepared(
            """
            rm -f new-host-key* && ssh-keygen -q -t ed25519 -N '' -C '' -f new-host-key &&
            mv new-host-key host-key && mv new-host-key.pub host-key.pub && kill -HUP "$(cat pid)" &&
            cut -d ' ' -f 2 host-key.pub
            """, in: path)
        let port = port
        try await server.started {
            try await shell("ssh-keyscan -t ed25519 -p \(port) 127.0.0.1").output.contains(key)
        }
    }
}

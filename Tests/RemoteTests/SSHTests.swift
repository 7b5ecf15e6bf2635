import Foundation
import Git
import Glibc
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)))
struct SSHTests {
    let served: Served
    let server: SSHServer
    var url: String { server.url("\(served.root)/\(served.name)") }

    init() async throws {
        served = try await Served()
        server = try await SSHServer()
    }

    private func program(
        key: String?, hosts: String?, checks: Bool = true, environment: [String: String] = [:]
    ) -> GitProgram {
        served.program(
            RemoteAccess(ssh: SSHAccess(keyFile: key, knownHostsFile: hosts, checksHostKeys: checks)),
            environment: environment)
    }

    @Test("a commit comes with each kind of key", arguments: ["ed25519", "rsa", "ecdsa"])
    func keys(type: String) async throws {
        let key = try #require(server.keys[type])
        let commit = try await served.commit()
        #expect(try await served.fetch(url, program(key: key, hosts: server.knownHosts)) == commit)
    }

    @Test("a key and a file of known hosts may lie below any name")
    func names() async throws {
        let folder = try TemporaryFolder()
        let odd = folder.path + "/it's 100%d \"odd\""
        try FileManager.default.createDirectory(atPath: odd, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: try #require(server.keys["ed25519"]), toPath: odd + "/key")
        try FileManager.default.copyItem(atPath: server.knownHosts, toPath: odd + "/hosts")
        try await served.fetch(url, program(key: odd + "/key", hosts: odd + "/hosts"))
    }

    @Test("a key that the server does not know is told from a server that is away")
    func stranger() async throws {
        let error = await served.failure(url, program(key: server.strangerKey, hosts: server.knownHosts))
        #expect(error?.code == .denied && error?.description.contains("AGENT_SSH_KEY_FILE") == true, "\(error as Any)")
        let away = "ssh://localhost:\(try await freeLoopbackPort())/up.git"
        let refused = await served.failure(away, program(key: server.keys["rsa"], hosts: server.knownHosts))
        #expect(refused?.code == .unreachable, "\(refused as Any)")
    }

    @Test("a key whose last line is not ended, as secrets of a CI are, is said to be none")
    func cutKey() async throws {
        let path = try #require(server.keys["ed25519"])
        let whole = String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
        let cut = try served.folder.write("cut", String(whole.dropLast()))
        chmod(cut, 0o600)
        let error = await served.failure(url, program(key: cut, hosts: server.knownHosts))
        #expect(error?.code == .denied && error?.description.contains("its last line") == true, "\(error as Any)")
    }

    @Test("only the named key is shown, also where the user has another")
    func onlyNamed() async throws {
        try FileManager.default.createDirectory(
            atPath: served.folder.path + "/.ssh", withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try FileManager.default.copyItem(
            atPath: try #require(server.keys["ed25519"]), toPath: served.folder.path + "/.ssh/id_ed25519")
        let error = await served.failure(url, program(key: server.strangerKey, hosts: server.knownHosts))
        #expect(error?.code == .denied, "\(error as Any)")
    }

    @Test("a host that is not known is refused: no list, an empty one, one with another key")
    func hostKeys() async throws {
        let key = server.keys["ed25519"]
        let empty = try served.folder.write("empty", "")
        for hosts in [nil, empty, server.otherKnownHosts] {
            let error = await served.failure(url, program(key: key, hosts: hosts))
            #expect(error?.code == .untrusted, "\(hosts ?? "none"): \(error as Any)")
            #expect(error?.description.contains("AGENT_SSH_KNOWN_HOSTS_FILE") == true)
        }
        // Nothing is set at all: ssh's own defaults, with nobody to ask.
        #expect(await served.failure(url, served.program())?.code == .untrusted)
    }

    @Test("a host key that has changed is refused, until the list has the new one or the check is off")
    func changedHostKey() async throws {
        let key = server.keys["ecdsa"]
        try await served.fetch(url, program(key: key, hosts: server.knownHosts))
        try await server.changeHostKey()
        let changed = await served.failure(url, program(key: key, hosts: server.knownHosts))
        #expect(changed?.code == .untrusted)
        // ssh's own advice is to forget the key that was known.
        #expect(changed?.description.contains("ssh-keygen") == false, "\(changed as Any)")
        try await served.fetch(url, program(key: key, hosts: server.knownHosts, checks: false))
        let scanned = try await shell("ssh-keyscan -p \(server.port) localhost 2> /dev/null", in: served.folder.path)
        let hosts = try served.folder.write("scanned", scanned.output)
        try await served.fetch(url, program(key: key, hosts: hosts))
    }

    @Test("what is set wins over git's own variables; a repository that is not there, and a missing ssh, are named")
    func others() async throws {
        let (key, hosts) = (server.keys["ed25519"], server.knownHosts)
        try await served.fetch(url, program(key: key, hosts: hosts, environment: ["GIT_SSH_COMMAND": "false"]))
        let missing = await served.failure(
            server.url("\(served.root)/none.git"), program(key: key, hosts: hosts))
        #expect(missing?.code == .missingRepository, "\(missing as Any)")
        let bin = served.folder.path + "/bin"
        try FileManager.default.createDirectory(atPath: bin, withIntermediateDirectories: true)
        for name in ["git", "sh"] {
            let found = try await shell("command -v \(name) | tr -d '\\n'").output
            try FileManager.default.createSymbolicLink(atPath: "\(bin)/\(name)", withDestinationPath: found)
        }
        let absent = await served.failure(url, served.program(environment: ["PATH": bin]))
        #expect(
            absent?.code == .gitMissing && absent?.description.contains("openssh-client") == true, "\(absent as Any)")
    }
}

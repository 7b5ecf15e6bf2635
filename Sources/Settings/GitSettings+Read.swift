import Git
import Glibc
import Shell

extension SettingsReader {
    /// Reads how commits are got and checked.
    package mutating func git(_ absolute: (String) -> String) -> GitSettings {
        let token = text(.token)?.value.trimmingSpace
        let tokenFile = file(.tokenFile, absolute) {
            Settings.readTokenFile($0) == nil ? "cannot be read or is empty" : nil
        }
        let credentialsFile = file(.credentialsFile, absolute) { path in
            do throws(CredentialsFile.Problem) {
                _ = try CredentialsFile.read(path)
                return nil
            } catch {
                return error.description
            }
        }
        let keyFile = file(.sshKeyFile, absolute, Self.problem(ofKey:))
        let checksHostKeys = flag(.sshHostKeyCheck, ofCommit: false)
        let knownHostsFile = file(.sshKnownHostsFile, absolute) { path in
            guard let bytes = TextFile.read(path, limit: 16 << 20) else { return "cannot be read" }
            return !checksHostKeys || SSHKeyText.mayBeKnownHosts(bytes)
                ? nil : "holds no host's key as ssh-keyscan prints them: HOST TYPE KEY"
        }
        let authorityFile = file(.authorityFile, absolute) { path in
            guard let bytes = TextFile.read(path, limit: 16 << 20) else { return "cannot be read" }
            return String(decoding: bytes, as: UTF8.self).contains("-----BEGIN CERTIFICATE-----")
                ? nil : "holds no certificate in PEM form"
        }
        return GitSettings(
            user: read(.username) { $0.contains(":") ? nil : $0.trimmingSpace }, token: token, tokenFile: tokenFile,
            credentialsFile: credentialsFile,
            ssh: SSHAccess(
                keyFile: keyFile, knownHostsFile: knownHostsFile, checksHostKeys: checksHostKeys),
            authorityFile: authorityFile,
            depth: read(.gitDepth) { Int($0).flatMap { $0 >= 0 ? $0 : nil } } ?? 1,
            hasSubmodules: read(.submodules) { ["recursive": true, "off": false][$0.lowercased()] } ?? true,
            hasLFS: read(.lfs) { ["auto": true, "off": false][$0.lowercased()] } ?? true,
            signatures: signatures(absolute))
    }

    /// What a commit could turn off itself would protect from nobody: not from an app spec.
    private mutating func signatures(_ absolute: (String) -> String) -> CommitSignatures? {
        for setting in [Setting.verifyCommit, .allowedSignersFile, .sshHostKeyCheck]
        where appspec.values[setting.name]?.value != nil {
            notices.append(
                "\(setting.name) in \(appspecFile) does not count: what commits are checked by is set in the environment alone"
            )
        }
        let kind = read(.verifyCommit, ofCommit: false) { text -> CommitSignatures.Kind?? in
            if text.lowercased() == "off" { return .some(nil) }
            return CommitSignatures.Kind(rawValue: text.lowercased()).map { .some($0) }
        }
        let file = file(.allowedSignersFile, ofCommit: false, absolute) {
            TextFile.read($0, limit: 16 << 20)?.isEmpty ?? true ? "cannot be read or is empty" : nil
        }
        guard let kind = kind ?? nil, let found = found[Setting.verifyCommit.name] else { return nil }
        guard let file else {
            reject(.verifyCommit, found, because: "needs \(Setting.allowedSignersFile.name)")
            return nil
        }
        let signatures = CommitSignatures(kind: kind, signersFile: file)
        if let found = self.found[Setting.allowedSignersFile.name], let bytes = TextFile.read(file, limit: 16 << 20),
            !signatures.mayBeSigners(bytes)
        {
            let kinds = [
                CommitSignatures.Kind.ssh: "a list as in ssh-keygen(1), ALLOWED SIGNERS", .gpg: "exported public keys",
            ]
            reject(
                .allowedSignersFile, found,
                because: "is not what \(Setting.verifyCommit.name)=\(kind.rawValue) needs: \(kinds[kind] ?? "")")
        }
        return signatures
    }

    /// The absolute path of a file; nil when it is not set or refused.
    ///
    /// - Parameter problem: what is wrong with the file, nil when nothing is.
    private mutating func file(
        _ setting: Setting, ofCommit: Bool = true, _ absolute: (String) -> String, _ problem: (String) -> String?
    ) -> String? {
        guard var text = text(setting, ofCommit: ofCommit) else { return nil }
        text.value = absolute(text.value.trimmingSpace)
        guard let problem = problem(text.value) else { return text.value }
        reject(setting, text, because: problem)
        return nil
    }

    private static func problem(ofKey path: String) -> String? {
        guard let bytes = TextFile.read(path, limit: 1 << 20) else { return "cannot be read" }
        if let problem = SSHKeyText.problem(ofPrivateKey: bytes) { return problem }
        var info = stat()
        // ssh's own rule.
        guard stat(path, &info) == 0, info.st_uid == geteuid(), info.st_mode & 0o077 != 0 else { return nil }
        return "may be read by others, and ssh does not take such a key: chmod 600"
    }
}

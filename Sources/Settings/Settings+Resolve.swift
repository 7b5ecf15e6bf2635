import Git
import Glibc
import Ledger
import Log
public import Shell

extension Settings {
    /// Reads all settings for one commit.
    ///
    /// - Parameters:
    ///   - options: what the command line sets, by variable name.
    ///   - appspec: the spec of that commit, nil when it has none.
    ///   - currentFolder: what relative paths are relative to.
    /// - Throws: `SettingsError` that names everything that is wrong.
    public static func resolve(
        options: [String: String], environment: ProcessEnvironment, appspec: AppSpec?,
        currentFolder: String = Settings.currentFolder
    ) throws -> Settings {
        let service = environment[Setting.service.name].flatMap { $0.isBlank ? nil : $0.trimmingSpace }
        let resolved = appspec?.resolve(service: service, environment: environment) ?? AppSpec.Resolved()
        var reader = SettingsReader(
            options: options, environment: environment, appspec: resolved, appspecFile: appspec?.file ?? "appspec.yaml")
        reader.problems = resolved.problems
        let absolute = { (path: String) in path.hasPrefix("/") ? path : currentFolder + "/" + path }

        let named = absolute(reader.text(.workspacePath)?.value ?? currentFolder)
        let foreignLink = ForeignLink(at: named)
        let workspace = workspacePath(named, foreignLink, environment)
        let branch = reader.text(.branch)?.value.trimmingSpace
        if let branch, branch.hasPrefix("-") || branch.contains(where: \.isWhitespace) {
            reader.reject(
                .branch, Sourced(value: branch, source: reader.found[Setting.branch.name]?.source ?? .fallback))
        }
        let git = reader.git(absolute)
        let url = reader.text(.repoURL)
        if let url, let problem = RemoteSettings.problem(of: url.value.trimmingSpace) {
            reader.reject(
                .repoURL, Sourced(value: URLCredentials.shown(url.value), source: url.source), because: problem)
        }
        let remote = url.map { RemoteSettings(url: $0.value, branch: branch, absolute) }

        let repoFolder = reader.folder(.repoFolder)
        var hooks = Hook.allCases.compactMap { readHook($0, repoFolder: repoFolder, &reader, absolute) }
        let isGated = reader.flag(.gate)
        let publish = readPublish(&reader, hasRemote: remote != nil, foreignLink)
        if publish.mode == .symlink, !isGated,
            let index = hooks.firstIndex(where: { $0.hook == .preDeploy && !$0.paths.isEmpty })
        {
            hooks[index].paths = []
            reader.notices.append(
                "\(Setting.paths(.preDeploy).name) does not count with \(Setting.publish.name)=symlink and \(Setting.gate.name)=false: what PRE_DEPLOY makes in a release is not known"
            )
        }
        let interval = reader.duration(.syncInterval)
        let gitTimeout = reader.duration(.gitTimeout)
        let ledgerTimeout = reader.duration(.ledgerTimeout)
        let killGrace = reader.duration(.killGrace)
        let logFormat = reader.read(.logFormat) { LogFormat(rawValue: $0.lowercased()) } ?? .text
        let logLevel =
            reader.read(.logLevel) { text in
                LogLevel(rawValue: text.lowercased() == "warn" ? "warning" : text.lowercased())
            } ?? .info
        let keep = reader.read(.keep) { Int($0).flatMap { $0 >= 1 ? $0 : nil } } ?? 1000
        let entrypoint = readEntrypoint(&reader)
        let http = readHTTP(&reader, absolute)
        let notifications = readNotifications(&reader)
        let shell = absolute(readShell(&reader))
        let stateDirectory = canonicalPath(
            absolute(reader.text(.stateDirectory)?.value ?? defaultStateDirectory(environment)))
        let ledger = LedgerAddress.read(&reader, stateDirectory: stateDirectory, absolute)
        for setting in [Hook.preDeploy, .postDeploy].map(Setting.scope) where !ledger.isShared {
            guard let found = reader.found[setting.name], found.value.lowercased() == RunScope.fleet.rawValue else {
                continue
            }
            reader.reject(setting, found, because: "needs a PostgreSQL ledger, which AGENT_LEDGER_URL does not name")
        }
        let folderName = workspace.split(separator: "/").last.map(String.init) ?? "app"
        let app = reader.text(.app)?.value.trimmingSpace ?? appspec?.name ?? folderName
        if reader.found[Setting.app.name] == nil, let appspec, let name = appspec.name {
            reader.found[Setting.app.name] = Sourced(
                value: name, source: .appspec(file: appspec.file, line: appspec.nameLine))
        }
        let host = reader.text(.host)?.value.trimmingSpace ?? hostName()
        let deployFile = reader.text(.deployFile)
        let tasksTable = readTasksTable(&reader, isShared: ledger.isShared)
        _ = reader.text(.appspec)
        _ = reader.text(.service)
        let secrets = collectSecrets(
            resolved, environment, git,
            tokens: [
                git.token, http.webhookSecret?.current(), http.apiToken?.current(), notifications?.url,
                notifications?.secret,
            ],
            urls: [
                url?.value, reader.found[Setting.repoURL(.preDeploy).name]?.value,
                reader.found[Setting.repoURL(.postDeploy).name]?.value, ledger.text,
                reader.found[Setting.ledgerURL.name]?.value, notifications?.url,
            ],
            ledger: ledger)
        guard reader.problems.isEmpty else {
            throw SettingsError(
                reader.problems.map { problem in
                    var problem = problem
                    problem.text = secrets.mask(problem.text)
                    return problem
                }, nearMisses: nearMisses(environment, resolved))
        }
        return Settings(
            workspace: workspace, remote: remote, interval: interval, hooks: hooks, isGated: isGated,
            publish: publish,
            gitTimeout: gitTimeout, git: git,
            killGrace: killGrace, shell: shell, stateDirectory: stateDirectory, ledger: ledger,
            ledgerTimeout: ledgerTimeout, app: app,
            host: host,
            logFormat: logFormat, logLevel: logLevel, entrypoint: entrypoint, http: http,
            notifications: notifications, keep: keep, deployFile: deployFile, tasksTable: tasksTable,
            exports: exports(resolved, environment), secrets: secrets,
            warnings: resolved.warnings + reader.notices + advice(reader, git, hooks, environment, resolved),
            remarks: remarks(secrets, resolved, environment),
            listing: Setting.all.map { setting in
                let value = reader.found[setting.name]
                return ListedSetting(
                    name: setting.name,
                    value: value.map {
                        setting.isSecret || resolved.secretKeys.contains(setting.name)
                            ? Secrets.replacement : secrets.mask($0.value)
                    },
                    fallback: setting.fallback, source: value?.source ?? .fallback)
            })
    }

    public static var currentFolder: String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }

    /// True only where there are no tasks either.
    package static let nothingToRun =
        "neither PRE_DEPLOY_COMMAND nor POST_DEPLOY_COMMAND is set: a deployment runs nothing"

    // MARK: - Single settings

    private static func readHook(
        _ hook: Hook, repoFolder: String?, _ reader: inout SettingsReader, _ absolute: (String) -> String
    ) -> HookSettings? {
        // Every one is read, also without a command: a wrong value shows at once, not when the command is added.
        let command = reader.text(.command(hook))
        if let command, command.value.utf8.contains(0) {
            reader.reject(.command(hook), command, because: "holds a NUL byte")
        }
        let own = reader.folder(.folder(hook))
        let timeout = reader.duration(.timeout(hook))
        var (mode, retries, scope) = (hook.defaultMode, hook.defaultRetries, RunScope.host)
        var (paths, remote): ([Pathspec], RemoteSettings?) = ([], nil)
        if hook != .failedDeploy {
            scope = reader.read(.scope(hook)) { RunScope(rawValue: $0.lowercased()) } ?? scope
            mode = reader.read(.mode(hook)) { HookMode(rawValue: $0.lowercased()) } ?? mode
            retries = reader.read(.retries(hook), Retries.init) ?? retries
            paths = reader.read(.paths(hook), readPaths) ?? []
            remote = readRemote(hook, &reader, absolute)
        }
        guard let command else { return nil }
        // That folder is one of the app's repository.
        let repoFolder = remote == nil ? repoFolder : nil
        return HookSettings(
            hook: hook, command: command.value, folder: joined(own, below: repoFolder),
            folderSetting: own != nil || repoFolder == nil ? Setting.folder(hook).name : Setting.repoFolder.name,
            timeout: timeout, mode: mode, retries: retries, scope: scope, paths: paths, remote: remote)
    }

    private static func readPaths(_ text: String) -> [Pathspec]? {
        let texts = text.split(whereSeparator: \.isWhitespace)
        let paths = texts.compactMap { Pathspec(String($0)) }
        return paths.count == texts.count ? paths : nil
    }

    /// Where a hook has a repository of its own.
    private static func readRemote(
        _ hook: Hook, _ reader: inout SettingsReader, _ absolute: (String) -> String
    ) -> RemoteSettings? {
        let branch = reader.read(.repoBranch(hook)) { text in
            text.hasPrefix("-") || text.contains(where: \.isWhitespace) ? nil : text
        }
        guard let url = reader.text(.repoURL(hook)) else { return nil }
        if let problem = RemoteSettings.problem(of: url.value.trimmingSpace) {
            reader.reject(
                .repoURL(hook), Sourced(value: URLCredentials.shown(url.value), source: url.source), because: problem)
            return nil
        }
        return RemoteSettings(
            url: url.value.trimmingSpace, branch: branch,
            names: Remote.Names(url: Setting.repoURL(hook).name, ref: Setting.repoBranch(hook).name), absolute)
    }

    private static func readHTTP(_ reader: inout SettingsReader, _ absolute: (String) -> String) -> HTTPSettings {
        return HTTPSettings(
            isEnabled: reader.flag(.health), host: reader.read(.httpHost, HTTPSettings.readHost) ?? "0.0.0.0",
            port: reader.read(.healthPort) { Int($0).flatMap { (1...65_535).contains($0) ? $0 : nil } } ?? 9090,
            apiToken: readSecret(.apiToken, .apiTokenFile, &reader, absolute),
            webhookSecret: readSecret(.webhookSecret, .webhookSecretFile, &reader, absolute))
    }

    /// A secret that may also lie in a file, which then wins.
    private static func readSecret(
        _ text: Setting, _ file: Setting, _ reader: inout SettingsReader, _ absolute: (String) -> String
    ) -> SecretText? {
        let text = reader.text(text)?.value.trimmingSpace
        guard let path = reader.text(file).map({ Sourced(value: absolute($0.value), source: $0.source) }) else {
            return text.map { SecretText(text: $0) }
        }
        if readTokenFile(path.value) == nil { reader.reject(file, path, because: "cannot be read or is empty") }
        return SecretText(text: text, file: path.value)
    }

    private static func readNotifications(_ reader: inout SettingsReader) -> NotificationSettings? {
        let secret = reader.text(.notifySecret)?.value.trimmingSpace
        let url = reader.read(.notifyURL) { text in
            let lower = text.lowercased()
            let isHTTP = lower.hasPrefix("http://") || lower.hasPrefix("https://")
            return isHTTP && !text.contains(where: \.isWhitespace) ? text : nil
        }
        return url.map { NotificationSettings(url: $0, secret: secret) }
    }

    private static func readPublish(
        _ reader: inout SettingsReader, hasRemote: Bool, _ foreignLink: ForeignLink?
    ) -> PublishSettings {
        let mode = reader.read(.publish) { PublishSettings.Mode(rawValue: $0.lowercased()) } ?? .inPlace
        if mode == .symlink, !hasRemote, let found = reader.found[Setting.publish.name] {
            reader.reject(
                .publish, found, because: "needs a remote to publish from, which GITHUB_REPO_URL does not name")
        }
        let onFailure = reader.read(.onFailure) {
            ["none", "rollback"].contains($0.lowercased()) ? $0.lowercased() : nil
        }
        if onFailure == "rollback", !hasRemote, let found = reader.found[Setting.onFailure.name] {
            reader.reject(
                .onFailure, found, because: "needs a remote to publish from, which GITHUB_REPO_URL does not name")
        }
        return PublishSettings(
            mode: mode, foreignLink: foreignLink,
            // No commit says whose link is replaced.
            adoptsLink: reader.flag(.adoptLink, ofCommit: false),
            wait: reader.read(.publishWait) { $0 == "0" ? .zero : DurationText.parse($0) } ?? .seconds(60),
            keptReleases: reader.read(.keepReleases) { Int($0).flatMap { $0 >= 0 ? $0 : nil } } ?? 3,
            releaseGrace: reader.read(.releaseGrace) { $0 == "0" ? .zero : DurationText.parse($0) } ?? .zero,
            rollsBack: onFailure == "rollback")
    }

    private static func readTasksTable(_ reader: inout SettingsReader, isShared: Bool) -> String? {
        let table = reader.read(.tasksTable) { text in
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            return (1...2).contains(parts.count) && parts.allSatisfy { AppSpec.isName(String($0)) } ? text : nil
        }
        if table != nil, !isShared, let found = reader.found[Setting.tasksTable.name] {
            reader.reject(
                .tasksTable, found, because: "needs a PostgreSQL ledger, which AGENT_LEDGER_URL does not name")
        }
        return table
    }

    private static func readEntrypoint(_ reader: inout SettingsReader) -> EntrypointSettings {
        EntrypointSettings(
            startCommand: reader.text(.startCommand)?.value, appFolder: reader.text(.appFolder)?.value.trimmingSpace,
            startTimeout: reader.duration(.startTimeout),
            onStart: reader.read(.onStart) { OnStart(rawValue: $0.lowercased()) },
            onDeploy: reader.read(.onDeploy, OnDeploy.init) ?? .none, waitFor: reader.read(.waitFor, WaitFor.init),
            waitTimeout: reader.duration(.waitTimeout), sharesCredentials: reader.flag(.appCredentials),
            keepsAlive: reader.flag(.keepAlive),
            stopGrace: reader.duration(.stopGrace))
    }

    /// `GITHUB_REPO_FOLDER`: a hook's folder is relative to it unless it already starts with it.
    private static func joined(_ folder: String?, below base: String?) -> String {
        guard let base, base != "." else { return folder ?? "." }
        guard let folder, folder != "." else { return base }
        return folder == base || folder.hasPrefix(base + "/") ? folder : base + "/" + folder
    }

    private static func readShell(_ reader: inout SettingsReader) -> String {
        let searchPath = reader.environment["PATH"]
        if let set = reader.text(.shell) {
            guard let path = findProgram(set.value, searchPath: searchPath) else {
                reader.reject(.shell, set, because: "is not to be found")
                return ""
            }
            return path
        }
        return findProgram("bash", searchPath: searchPath) ?? findProgram("sh", searchPath: searchPath) ?? "/bin/sh"
    }

    private static func defaultStateDirectory(_ environment: ProcessEnvironment) -> String {
        let system = "/var/lib/deploy-agent"
        if access(system, W_OK | X_OK) == 0 || (access(system, F_OK) != 0 && access("/var/lib", W_OK | X_OK) == 0) {
            return system
        }
        if let home = environment["XDG_STATE_HOME"], home.hasPrefix("/") { return home + "/deploy-agent" }
        // Without HOME (cron, containers) the system's user database knows it.
        let home = environment["HOME"] ?? getpwuid(getuid()).flatMap { $0.pointee.pw_dir.map { String(cString: $0) } }
        return (home ?? "/") + "/.local/state/deploy-agent"
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A workspace's canonical path. A link to a release is what it is called, wherever it leads at the moment; where one is to
    /// be, so is a link of somebody's. That counts from the environment: before any commit's spec is read the place is known.
    private static func workspacePath(
        _ path: String, _ foreignLink: ForeignLink?, _ environment: ProcessEnvironment
    ) -> String {
        let mode = environment[Setting.publish.name].map { $0.trimmingSpace.lowercased() }
        if let foreignLink, mode == PublishSettings.Mode.symlink.rawValue { return foreignLink.path }
        var parts = path.split(separator: "/")
        guard let last = parts.popLast(), last != ".", last != "..",
            Releases.target(of: "/" + (parts + [last]).joined(separator: "/")) != nil
        else {
            let canonical = canonicalPath(path)
            return Releases.workspace(of: canonical) ?? canonical
        }
        let parent = canonicalPath("/" + parts.joined(separator: "/"))
        return parent == "/" ? "/\(last)" : "\(parent)/\(last)"
    }

    /// The token in a file, without the white space around it; nil when it cannot be read or is empty.
    package static func readTokenFile(_ path: String) -> String? {
        guard let bytes = TextFile.read(path, limit: 64 * 1024) else { return nil }
        let token = String(decoding: bytes, as: UTF8.self).trimmingSpace
        return token.isEmpty ? nil : token
    }

    // MARK: - What follows from all of them

    private static func exports(_ resolved: AppSpec.Resolved, _ environment: ProcessEnvironment) -> [String: String] {
        var exports: [String: String] = [:]
        for (key, entry) in resolved.values where !Setting.knownNames.contains(key) && environment[key] == nil {
            exports[key] = entry.value
        }
        return exports
    }

    private static func collectSecrets(
        _ resolved: AppSpec.Resolved, _ environment: ProcessEnvironment, _ git: GitSettings, tokens: [String?],
        urls: [String?], ledger: LedgerAddress
    ) -> Secrets {
        var texts = ledger.passwords
        if ledger.isShared { texts += [environment["PGPASSWORD"]].compactMap { $0 } }
        texts += resolved.secretValues
        for key in resolved.secretKeys {
            if let value = resolved.values[key]?.value { texts.append(value) }
            if let value = environment[key] { texts.append(value) }
        }
        texts += tokens.compactMap { $0 }
        texts += [git.tokenFile.flatMap(readTokenFile)].compactMap { $0 }
        if let file = git.credentialsFile { texts += ((try? CredentialsFile.read(file)) ?? []).flatMap(\.secrets) }
        for url in urls.compactMap({ $0 }) {
            guard let credentials = URLCredentials(url: url) else { continue }
            if let password = credentials.rawPassword { texts += [password, URLCredentials.decoded(password)] }
            // A token is also given as the user, alone or with what says that it is one.
            if url.lowercased().hasPrefix("http"), [nil, "x-oauth-basic"].contains(credentials.rawPassword),
                credentials.user.utf8.count >= 8
            {
                texts.append(credentials.user)
            }
        }
        return Secrets(texts)
    }

    private static func remarks(
        _ secrets: Secrets, _ resolved: AppSpec.Resolved, _ environment: ProcessEnvironment
    ) -> [String] {
        guard secrets.areShort else { return [] }
        let names = resolved.secretKeys.filter { key in
            Secrets([resolved.values[key]?.value, environment[key]].compactMap { $0 }).areShort
        }
        let which = names.isEmpty ? "a secret" : names.sorted().joined(separator: ", ")
        return [
            "\(which) has fewer than \(Secrets.shortest) characters: \(Secrets.replacement) stands in texts wherever they do; use a longer one"
        ]
    }

    private static func nearMisses(_ environment: ProcessEnvironment, _ resolved: AppSpec.Resolved) -> [String] {
        Set(environment.names).union(resolved.values.keys).sorted().compactMap { name in
            NearMiss.setting(for: name).map { "\(name) is no setting: did you mean \($0)?" }
        }
    }

    private static func advice(
        _ reader: SettingsReader, _ git: GitSettings, _ hooks: [HookSettings], _ environment: ProcessEnvironment,
        _ resolved: AppSpec.Resolved
    ) -> [String] {
        var advice = nearMisses(environment, resolved)
        for hook in hooks where hook.mode == .lenient {
            if reader.found[Setting.retries(hook.hook).name] != nil, hook.retries != .atMost(0) {
                advice.append(
                    "\(Setting.retries(hook.hook).name) has no effect: \(hook.hook.rawValue) is lenient, so its failure does not fail the deployment"
                )
            }
        }
        if !hooks.contains(where: { $0.hook != .failedDeploy }) {
            advice.append(nothingToRun)
        }
        if reader.found[Setting.repoURL.name] == nil, let branch = reader.found[Setting.branch.name],
            branch.value.trimmingSpace != RemoteSettings.defaultBranch
        {
            advice.append(
                "GITHUB_BRANCH \"\(branch.value)\" has no effect without GITHUB_REPO_URL: the workspace's own HEAD is watched"
            )
        }
        if !git.ssh.checksHostKeys {
            advice.append(
                "\(Setting.sshHostKeyCheck.name) is off: whoever answers for a host is taken for it, and gives what is run"
            )
        }
        return advice
    }
}

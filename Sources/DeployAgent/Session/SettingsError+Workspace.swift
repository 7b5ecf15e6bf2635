import Git
import Settings

/// What is wrong with the place that `WORKSPACE_PATH` names.
extension SettingsError {
    /// Expects that what lies there may be the agent's to move.
    static func expectOwn(
        _ workspace: Workspace, _ place: Workspace.State, _ settings: Settings
    ) throws(SettingsError) {
        switch place {
        case .foreign(let what): throw foreign(workspace, what, settings)
        case .elsewhere(let what): throw SettingsError(ofPlace: workspace, what)
        case .empty, .checkout: break
        }
    }

    /// Something lies there that is nobody's checkout.
    private static func foreign(_ workspace: Workspace, _ what: String, _ settings: Settings) -> SettingsError {
        if settings.publish.mode == .symlink, let link = settings.publish.foreignLink {
            return .foreign(link, settings)
        }
        return SettingsError(
            ofPlace: workspace,
            settings.publish.mode == .symlink
                ? "\(what), and \(Setting.publish.name)=symlink needs a place where nothing is; name another one, or move it away"
                : "\(what); name a git checkout, or an empty or new folder with \(Setting.repoURL.name) set")
    }

    /// Another tool's link is where the agent's is to be.
    private static func foreign(_ link: ForeignLink, _ settings: Settings) -> SettingsError {
        // Otherwise the place that is worked on is where the link leads.
        let isPlace = settings.workspace == link.path
        let ask =
            isPlace
            ? "\(Setting.adoptLink.name)=true"
            : "\(Setting.publish.name)=symlink and \(Setting.adoptLink.name)=true in the environment"
        return SettingsError(
            Setting.workspacePath.name,
            "\(link) that the agent did not make; set \(ask) to have the agent's own put into its place, which leaves what it points to as it is, or name another place",
            source: .fallback)
    }

    /// The link there leads to a release of another state directory.
    static func elsewhere(_ workspace: Workspace, _ target: String, _ settings: Settings) -> SettingsError {
        SettingsError(
            ofPlace: workspace,
            "is a symbolic link to \(target), which is not in the state directory \(settings.stateDirectory); name the one that it is in as \(Setting.stateDirectory.name), or set \(Setting.adoptLink.name)=true to have the link point to a release in this one"
        )
    }

    /// Nothing is there, and nothing may be cloned.
    static func nothingToDeploy(_ workspace: Workspace) -> SettingsError {
        SettingsError(ofPlace: workspace, "is no git checkout and \(Setting.repoURL.name) is not set; set one of them")
    }

    /// A folder of somebody's is where a link is to be.
    static func notALink(_ workspace: Workspace, _ settings: Settings) -> SettingsError {
        settings.publish.foreignLink.map { .foreign($0, settings) }
            ?? SettingsError(ofPlace: workspace, Workspace.notALink)
    }

    /// A checkout that cannot be read, and may hold what nobody else has.
    static func damaged(_ workspace: Workspace, _ damage: String, hasRemote: Bool) -> SettingsError {
        SettingsError(
            ofPlace: workspace,
            "is damaged, and no checkout that the agent could mend: \(damage); put that right (`git fsck` there says what else is damaged), or move it away"
                + (hasRemote ? ": then the agent makes it anew" : " and clone it anew"))
    }

    private init(ofPlace workspace: Workspace, _ problem: String) {
        self.init(Setting.workspacePath.name, "\(workspace.path) \(problem)", source: .fallback)
    }
}

extension Settings {
    /// Why nothing can be deployed to a place as it is; nil when something can.
    ///
    /// - Parameter state: what is there.
    func obstacle(_ state: Workspace.State, at workspace: Workspace, _ store: CommitStore) -> SettingsError? {
        do { try SettingsError.expectOwn(workspace, state, self) } catch { return error }
        guard remote != nil else { return state == .empty ? .nothingToDeploy(workspace) : nil }
        return obstacleToPublishing(at: workspace, store)
    }

    /// The same where there is a remote: what stands there that is not the agent's to replace.
    func obstacleToPublishing(at workspace: Workspace, _ store: CommitStore) -> SettingsError? {
        if !publish.adoptsLink, let target = Releases(of: store, workspace: workspace.path).linkElsewhere() {
            return .elsewhere(workspace, target, self)
        }
        return publish.mode == .symlink && !workspace.mayBeLink ? .notALink(workspace, self) : nil
    }
}

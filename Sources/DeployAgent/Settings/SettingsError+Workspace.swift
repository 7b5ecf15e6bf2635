import Git

/// What is wrong with the place that `WORKSPACE_PATH` names.
extension SettingsError {
    /// Expects that what lies there may be the agent's to move.
    static func expectOwn(
        _ workspace: Workspace, _ place: Workspace.State, _ mode: PublishSettings.Mode
    ) throws(SettingsError) {
        switch place {
        case .foreign(let what): throw foreign(workspace, what, mode)
        case .elsewhere(let what): throw SettingsError(ofPlace: workspace, what)
        case .empty, .checkout: break
        }
    }

    /// Something lies there that is nobody's checkout.
    private static func foreign(_ workspace: Workspace, _ what: String, _ mode: PublishSettings.Mode) -> SettingsError {
        SettingsError(
            ofPlace: workspace,
            mode == .symlink
                ? "\(what), and \(Setting.publish.name)=symlink needs a place where nothing is; name another one, or move it away"
                : "\(what); name a git checkout, or an empty or new folder with \(Setting.repoURL.name) set")
    }

    /// Nothing is there, and nothing may be cloned.
    static func nothingToDeploy(_ workspace: Workspace) -> SettingsError {
        SettingsError(ofPlace: workspace, "is no git checkout and \(Setting.repoURL.name) is not set; set one of them")
    }

    /// A folder of somebody's is where a link is to be.
    static func notALink(_ workspace: Workspace) -> SettingsError {
        SettingsError(ofPlace: workspace, Workspace.notALink)
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
    func obstacle(at workspace: Workspace, _ place: Workspace.State) -> SettingsError? {
        do { try SettingsError.expectOwn(workspace, place, publish.mode) } catch { return error }
        guard remote != nil else { return place == .empty ? .nothingToDeploy(workspace) : nil }
        return publish.mode == .symlink && !workspace.mayBeLink ? .notALink(workspace) : nil
    }
}

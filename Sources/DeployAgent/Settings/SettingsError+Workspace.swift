import Git

/// What is wrong with the place that `WORKSPACE_PATH` names.
extension SettingsError {
    /// Something lies there that is nobody's checkout.
    static func foreign(_ workspace: Workspace, _ what: String, _ mode: PublishSettings.Mode) -> SettingsError {
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

    private init(ofPlace workspace: Workspace, _ problem: String) {
        self.init(Setting.workspacePath.name, "\(workspace.path) \(problem)", source: .fallback)
    }
}

extension Settings {
    /// Why nothing can be deployed to a place as it is; nil when something can.
    func obstacle(at workspace: Workspace, _ place: Workspace.State) -> SettingsError? {
        if case .foreign(let what) = place { return .foreign(workspace, what, publish.mode) }
        guard remote != nil else { return place == .empty ? .nothingToDeploy(workspace) : nil }
        return publish.mode == .symlink && !workspace.mayBeLink ? .notALink(workspace) : nil
    }
}

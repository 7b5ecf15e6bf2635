import Git

/// A commit that may be deployed, and where it lies.
struct Target {
    var commit: String
    var ref: String?
    var repository: Repository
    /// Nil when the workspace itself is watched.
    var source: DeploymentPlan.Source?

    /// A commit of the workspace.
    init(_ commit: String, in repository: Repository) {
        self.commit = commit
        self.repository = repository
    }

    /// A commit of the remote.
    init(_ commit: String, ref: String?, _ source: DeploymentPlan.Source) {
        self.commit = commit
        self.ref = ref
        self.source = source
        repository = source.store.repository
    }
}

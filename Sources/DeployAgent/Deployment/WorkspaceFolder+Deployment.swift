import Execution

extension WorkspaceFolder {
    /// There while a rollback that was asked for has not been carried out.
    var rollback: String { path + "/rollback.json" }
    /// The same for one that follows a failure by itself.
    var wayBack: String { path + "/way-back.json" }
    /// Lists what the commit that is deployed changes.
    var changedFiles: String { path + "/changed-files" }
}

import Execution

extension WorkspaceFolder {
    /// Who holds it works on the workspace.
    var lock: String { path + "/lock" }
}

import Ledger

/// What a run is told about what it runs for.
package struct RunContext: Sendable {
    /// `DEPLOY_*` variables, without those that say which run it is.
    package var variables: [String: String]
    /// What a JSON line of its output says beside the run: names and values.
    package var fields: [(String, String)]

    package init(variables: [String: String], fields: [(String, String)]) {
        self.variables = variables
        self.fields = fields
    }

    /// The variables of one of its runs.
    func variables(of run: Run) -> [String: String] {
        variables.merging([
            "DEPLOY_ATTEMPT": "\(run.attempt)", "DEPLOY_RUN_ID": "\(run.id)",
            "DEPLOY_FENCE": run.fence.map { "\($0)" } ?? "",
        ]) { $1 }
    }
}

extension RecordPage {
    /// Reads the page after a deployment's id; its entries are empty at the end of the record.
    package init(_ tables: some RecordTables, after id: Int64, limit: Int) throws {
        let deployments = try tables.deployments(after: id, limit: limit)
        self.init(entries: [], last: try tables.last())
        guard let first = deployments.first, let final = deployments.last else { return }
        let runs = Dictionary(grouping: try tables.runs(of: first.id...final.id), by: \.run.deployment)
        let notifications = Dictionary(
            grouping: try tables.notifications(of: first.id...final.id), by: \.deployment)
        // What comes before a deployment is most often in the page itself.
        var newest: [Workspace: DeploymentKey] = [:]
        var attempts: [Int64: DeploymentKey] = [:]
        for deployment in deployments {
            let workspace = Workspace(host: deployment.scope.host, path: deployment.scope.workspace)
            entries.append(
                RecordEntry(
                    deployment: deployment, runs: runs[deployment.id] ?? [],
                    notifications: notifications[deployment.id] ?? [],
                    before: try newest[workspace] ?? tables.before(deployment),
                    earlierAttempt: deployment.series == deployment.id
                        ? nil : try attempts[deployment.series] ?? tables.earlierAttempt(deployment)))
            newest[workspace] = deployment.key
            attempts[deployment.series] = deployment.key
        }
    }

    private struct Workspace: Hashable {
        var host: String
        var path: String
    }
}

extension RunPage {
    /// Reads the page after a run's id.
    package init(_ tables: some RecordTables, after id: Int64, limit: Int) throws {
        self.init(runs: try tables.runsAlone(after: id, limit: limit), last: try tables.last())
    }
}

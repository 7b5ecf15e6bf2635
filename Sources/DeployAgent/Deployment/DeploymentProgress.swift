import Execution
import Glibc
import Ledger

/// How far a deployment has come, and what the record is still to be told.
struct DeploymentProgress {
    let recorded: Deployment
    /// A run recorded as `running` that has not been started.
    var begun: Run?
    let writer: LedgerWriter
    let folder: WorkspaceFolder
    let changed: ChangedSince.Lists?
    var warnings = 0
    var isPublished = false
    /// Whether a strict hook has failed once the commit was published.
    var hasFailedPublished = false
    var tasks: any AfterPublishStep
    /// Results that go into the record together with whatever comes next.
    var pending: [LedgerEntry] = []
    /// Markers of runs that have ended.
    var marks: [String] = []

    var id: Int64 { recorded.id }

    /// The deployment as the record has it, or will have it.
    func deployment(after result: DeploymentResult) -> Deployment {
        var deployment = recorded.ended(result)
        deployment.published = isPublished
        return deployment
    }

    /// Writes what is pending and the entries; then, not before, forgets the processes of the runs that have ended.
    @discardableResult
    mutating func write(_ entries: [LedgerEntry]) async throws -> [Run] {
        let runs = try await writer.write(pending + entries)
        pending = []
        for mark in marks { unlink(folder.mark(mark)) }
        marks = []
        return runs
    }
}

extension Deployment {
    /// The same with its end.
    func ended(_ result: DeploymentResult) -> Deployment {
        var deployment = self
        deployment.result = result
        return deployment
    }
}

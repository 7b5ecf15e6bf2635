import Git
import Ledger
import Settings

/// When an agent looks at the tasks beside its deployments, and what came of that last.
struct TaskWatch: AfterPublishWork {
    /// How many runs that put themselves off a deployment keeps.
    private static let keptDeferrals = 100

    private(set) var counts: TaskCounts?
    private(set) var retryAt: Timestamp?
    private var hasLooked = false
    /// Whether only tasks that wait for the app are left of the last look, and when another one is to be tried.
    private var rest: (waitsForApp: Bool, retryAt: Timestamp?) = (false, nil)
    /// The file as it was read last.
    private var known: DeployFile?

    mutating func begin() { counts = nil }

    mutating func deployed(_ deployment: Deployment, retryAt: Timestamp?) {
        counts = deployment.tasks
        // Else the commit is due again, and its tasks with it.
        guard deployment.status == .succeeded else { return }
        hasLooked = true
        rest = (false, nil)
        self.retryAt = retryAt
    }

    /// Whether tasks that are not done are to be tried although the commit is deployed: at a start, when somebody asks, and when
    /// the time of one has come that was passed over.
    func isDue(_ trigger: Trigger) -> Bool {
        !hasLooked || !trigger.respectsBackoff || retryAt.map { $0 <= .now } ?? false
    }

    mutating func read(
        _ origin: SettingsOrigin, _ settings: Settings, _ commit: String, in repository: Repository, workspace: String
    ) async throws -> Result<DeployFile?, SettingsError> {
        do {
            let file = try await origin.deployFile(
                settings.deployFile, for: commit, in: repository, workspace: workspace, known: known)
            known = file
            return .success(file)
        } catch let error as SettingsError {
            return .failure(error)
        } catch let error as GitError where error.code == .tooLarge {
            return .failure(SettingsError(Setting.deployFile.name, error.description, source: .fallback))
        }
    }

    func step(_ occasion: WorkOccasion, _ tools: WorkTools) -> any AfterPublishStep { TaskStep(occasion, tools) }

    func prune(deployment: Int64?, _ scope: Scope, keep: Int, _ ledger: any LedgerStore) async throws -> [Int64] {
        guard let deployment else { return try await ledger.pruneAlone(scope, keep: keep) }
        return try await ledger.pruneDeferred(deployment: deployment, keep: Self.keptDeferrals)
    }

    mutating func look(_ step: inout any AfterPublishStep, _ file: Result<DeployFile?, SettingsError>) async {
        hasLooked = true
        await step.begin(file)
        counts = step.counts
        retryAt = step.retryAt
        if !step.isDue { rest = (false, nil) }
    }

    mutating func run(_ step: inout any AfterPublishStep, appIsToCome: Bool) async {
        if !rest.waitsForApp { await step.run(.beforeApp) }
        if appIsToCome, step.isDue(.afterApp) {
            rest = (true, step.retryAt)
            retryAt = .now
        } else {
            await step.run(.afterApp)
            retryAt = [step.retryAt, rest.retryAt].compactMap { $0 }.min()
            rest = (false, nil)
        }
        step.announce()
        counts = step.counts
    }
}

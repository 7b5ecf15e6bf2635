import Git
import Ledger

/// When an agent looks at the tasks beside its deployments, and what came of that last.
struct TaskWatch {
    /// What came of the last check's look; nil when it did not look, or there is no file.
    private(set) var counts: TaskCounts?
    /// When there is reason for the next look; nil when there is none.
    private(set) var retryAt: Timestamp?
    private var hasLooked = false
    /// Whether only tasks that wait for the app are left of the last look, and when another one is to be tried.
    private var rest: (waitsForApp: Bool, retryAt: Timestamp?) = (false, nil)
    /// The file as it was read last.
    private var known: DeployFile?

    /// A check begins.
    mutating func begin() { counts = nil }

    /// A deployment looked at them.
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

    /// Reads the commit's file; what is wrong with it where it cannot be used.
    /// - Throws: `GitError` when the repository cannot be read.
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

    /// Looks up which are due.
    mutating func look(_ step: inout TaskStep, _ file: Result<DeployFile?, SettingsError>) async {
        hasLooked = true
        await step.begin(file)
        counts = step.counts
        retryAt = step.retryAt
        if step.due.isEmpty { rest = (false, nil) }
    }

    /// Runs those that are due.
    ///
    /// - Parameter appIsToCome: whether the app starts after this check: then the tasks that wait for it come with the next one.
    mutating func run(_ step: inout TaskStep, appIsToCome: Bool) async {
        if !rest.waitsForApp { await step.run(.beforeApp) }
        if appIsToCome, step.due.contains(where: { $0.when == .afterApp }) {
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

extension Result where Success == DeployFile?, Failure == SettingsError {
    /// Whether there are tasks, or perhaps would be in a file that cannot be used.
    var areThere: Bool {
        switch self {
        case .success(let file): file?.tasks.isEmpty == false
        case .failure: true
        }
    }
}

/// How much a record holds, and what in it does not fit together.
public struct RecordContents: Sendable, Equatable {
    public var deployments: Int
    public var runs: Int
    public var runningDeployments: Int
    public var runningRuns: Int
    /// When the oldest and the newest deployment began.
    public var oldest: Timestamp?
    public var newest: Timestamp?
    /// Runs marked `running` whose deployment has ended.
    public var overdueRuns: Found
    /// Runs whose deployment is not there.
    public var orphanedRuns: Found

    /// Entries that were found: how many, and the first ids.
    public struct Found: Sendable, Equatable {
        public static let limit = 5

        public var count: Int
        public var first: [Int64]

        public init(count: Int, first: [Int64]) {
            self.count = count
            self.first = first
        }
    }

    public init(
        deployments: Int, runs: Int, runningDeployments: Int, runningRuns: Int, oldest: Timestamp?, newest: Timestamp?,
        overdueRuns: Found, orphanedRuns: Found
    ) {
        self.deployments = deployments
        self.runs = runs
        self.runningDeployments = runningDeployments
        self.runningRuns = runningRuns
        self.oldest = oldest
        self.newest = newest
        self.overdueRuns = overdueRuns
        self.orphanedRuns = orphanedRuns
    }

    /// SQL that both stores understand: the runs that are overdue. A person may run a task of a deployment that has ended.
    package static let overdue = """
        FROM runs JOIN deployments ON deployments.id = runs.parent AND \(RunParent.isDeployment)
        WHERE runs.status = 'running' AND runs.kind = 'hook' AND deployments.status <> 'running'
        """
    /// The same for the runs that are orphaned.
    package static let orphaned = """
        FROM runs WHERE \(RunParent.isDeployment)
        AND NOT EXISTS (SELECT 1 FROM deployments WHERE deployments.id = runs.parent)
        """
}

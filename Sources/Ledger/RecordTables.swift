/// A record's tables within one transaction, as moving deployments to or from it needs them. What is done with them is the
/// same for every store.
package protocol RecordTables {
    // MARK: - Reading a page

    /// The deployments after an id, oldest first.
    func deployments(after id: Int64, limit: Int) throws -> [Deployment]
    /// The runs of the deployments whose ids are in the range, by id.
    func runs(of deployments: ClosedRange<Int64>) throws -> [CopiedRun]
    /// The runs after an id that belong to nothing, oldest first.
    func runsAlone(after id: Int64, limit: Int) throws -> [CopiedRun]
    func notifications(of deployments: ClosedRange<Int64>) throws -> [PendingNotification]
    /// The deployment before it on its workspace and host.
    func before(_ deployment: Deployment) throws -> DeploymentKey?
    /// The attempt before it of its series.
    func earlierAttempt(_ deployment: Deployment) throws -> DeploymentKey?
    /// The highest ids given so far.
    func last() throws -> RecordIDs

    // MARK: - Looking for what is there

    /// The deployment with a key, its id, series and whether it is running.
    func find(_ key: DeploymentKey) throws -> KnownDeployment?
    /// The newest deployment on a workspace and host, below an id where one is given.
    func newest(_ scope: Scope, below id: Int64?) throws -> Int64?
    /// The first deployment on a workspace and host that comes after an id and began later than a time.
    func firstLater(_ scope: Scope, than time: Timestamp, after id: Int64) throws -> Int64?
    /// Whether a deployment, or a series, has the id.
    func isUsed(deployment id: Int64) throws -> Bool
    /// Whether a deployment of the same commit and scope belongs to the series.
    func hasSeries(_ series: Int64, of deployment: Deployment) throws -> Bool
    /// The last run of the deployments on a workspace and host below an id.
    func lastRun(_ scope: Scope, below deployment: Int64) throws -> Int64?
    func isUsed(run id: Int64) throws -> Bool
    func isUsed(notification id: Int64) throws -> Bool
    func run(marker: String) throws -> Int64?
    /// The newest run of a place that belongs to nothing.
    func newestAlone(_ place: Scope) throws -> Int64?
    func isRunning(run id: Int64) throws -> Bool

    // MARK: - Writing

    func insert(_ deployment: Deployment) throws
    func insert(_ run: CopiedRun) throws
    func insert(_ notification: PendingNotification) throws
    /// Notes whose result a run took over, where that is not known yet.
    func adopt(marker: String, original: Int64) throws
    /// Deletes a deployment with its runs and notifications.
    func remove(deployment id: Int64) throws
    func remove(run id: Int64) throws
    /// Ids up to these are not given any more.
    func advance(to last: RecordIDs) throws
}

/// A deployment that a record has.
package struct KnownDeployment: Sendable {
    package var id: Int64
    package var series: Int64
    package var isRunning: Bool

    package init(id: Int64, series: Int64, isRunning: Bool) {
        self.id = id
        self.series = series
        self.isRunning = isRunning
    }
}

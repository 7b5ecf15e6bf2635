/// One step of the record. The steps of one `write` are kept together or not at all.
///
/// All but `beginRun` say what has happened: they may be kept and written later, and written twice they do no harm.
public enum LedgerEntry: Sendable {
    /// A run with the same marker that is there already is the one that begins.
    case beginRun(RunDraft)
    /// Has no effect on a run that has ended.
    case completeRun(Int64, RunResult)
    /// A run whose agent and processes are gone: it ends, and a lease under which it ran is there to be taken.
    case abandonRun(Int64, RunResult)
    /// A run that was not made here: its end is that of another host's run, where the record has that one.
    case adoptRun(RunDraft, of: Int64?, RunEnd)
    /// From now on the workspace may hold the deployment's commit.
    case publish(deployment: Int64)
    /// It does not after all: publishing failed, and the workspace was put back.
    case unpublish(deployment: Int64)
    /// Has no effect on a deployment that has ended.
    case completeDeployment(Int64, DeploymentResult)
    /// One that failed needs no further attempt although its retries are left: its commit is held. Has no effect on others.
    case settle(deployment: Int64)
    /// The deployment is to be told of, once.
    case notify(deployment: Int64, at: Timestamp)
    /// A notification was taken, or is given up.
    case removeNotification(Int64)
    /// Nobody took it; it is tried again at that time.
    case postponeNotification(Int64, until: Timestamp)
}

/// The record of deployments and runs. Every store passes the one conformance suite.
///
/// A write has survived a power loss once it returns. All functions throw `LedgerError`.
public protocol LedgerStore: LeaseStore, TaskStore, SharedRecord {
    /// Tells this record from every other, also when its server moves.
    func identity() async throws -> String

    /// Reads what bears on the decision about `commit`. Cost: constant in the length of the record.
    func facts(_ scope: Scope, commit: String) async throws -> LedgerFacts

    /// Records a deployment as `running` and returns it.
    ///
    /// - Parameter firstRun: builds the draft of a run that starts with it, in the same write, from the deployment's id.
    func begin(
        _ draft: DeploymentDraft, firstRun: (@Sendable (Int64) -> RunDraft)?
    ) async throws -> (deployment: Deployment, run: Run?)

    /// Writes the entries in order, all or nothing, and returns the runs that began.
    @discardableResult
    func write(_ entries: [LedgerEntry]) async throws -> [Run]

    /// Deployments and runs, of whatever kind and parent, still marked `running` on a workspace.
    ///
    /// - Parameter hosts: nil for every host, which is right where record and lock lie on one disk: a container's name
    ///   changes with every restart.
    func unfinished(hosts: [String]?, workspace: String) async throws -> (deployments: [Deployment], runs: [Run])

    /// Which of these markers belong to runs that the record has as ended by themselves or at their deadline. What an
    /// interrupted one left it did not leave on purpose.
    func ended(markers: [String]) async throws -> Set<String>

    /// How many runs named `name` failed or timed out in a series of attempts.
    func failures(series: Int64, name: String) async throws -> Int

    /// Deployments that pass the filter, newest first.
    func history(_ filter: HistoryFilter) async throws -> [Deployment]

    func deployment(_ id: Int64) async throws -> Deployment?

    /// The runs of a deployment in the order in which they began.
    func runs(deployment: Int64) async throws -> [Run]

    func run(_ id: Int64) async throws -> Run?

    /// The end of what a run printed; empty where there is nothing. No other call reads it, but those that move a record.
    func outputTail(run: Int64) async throws -> String

    /// The newest run of that kind and name in the scope that has ended.
    func lastRun(_ scope: Scope, kind: RunKind, name: String) async throws -> Run?

    /// Lets the commit that a deployment rolled back from be deployed again.
    func releaseHold(_ deployment: Int64) async throws

    /// Makes a settled or waiting deployment due at once.
    func makeDue(_ deployment: Int64) async throws

    /// The notification of a deployment on the workspace and host that is due first; nil when there is none.
    func nextNotification(_ scope: Scope) async throws -> PendingNotification?

    /// Deletes all but the newest `keep` deployments of the scope, never the last succeeded one, and what `pruneAlone` does.
    ///
    /// - Returns: the ids of the deleted runs, at most `limit` deployments' worth.
    func prune(_ scope: Scope, keep: Int, limit: Int) async throws -> [Int64]

    /// Deletes all but the newest `keep` runs of the scope that belong to nothing, never one that has not ended.
    ///
    /// - Returns: the ids of the deleted runs.
    func pruneAlone(_ scope: Scope, keep: Int) async throws -> [Int64]

    /// Deletes the runs of a deployment's tasks that put themselves off, all but the newest `keep`: a deployment that stands for
    /// months is otherwise given one at every check.
    ///
    /// - Returns: the ids of the deleted runs.
    func pruneDeferred(deployment: Int64, keep: Int) async throws -> [Int64]

    /// Some deployments after an id, the oldest first, with all that belongs to them; no entries at the end of the record.
    func page(after id: Int64, limit: Int) async throws -> RecordPage

    /// Adds what another record has, all of the page or nothing; what is there already is not added again.
    func insert(_ page: RecordPage) async throws -> RecordAddition

    /// Whether other hosts write to this record too.
    var isShared: Bool { get }

    /// Whether it is still what whoever opens it now gets: a file may be removed or replaced.
    var isInPlace: Bool { get }

    /// The agent ends: a server that does not answer is not waited for any longer than a moment.
    func hurry()

    /// Ends the use of the store: what was written is in order for whoever opens it next. Nothing may be called after it.
    func close()
}

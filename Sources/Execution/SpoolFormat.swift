import FoundationEssentials
import Ledger

/// How a batch lies in the spool, as JSON.
///
/// The form is this file's own: an agent that is replaced may have left batches, so what was written once is read for good,
/// whatever becomes of the model's names. A later version adds fields, which are optional, and kinds of entries; what an older
/// agent cannot read has a higher number in `version`.
enum SpoolFormat {
    static let version = 1

    enum Problem: Error {
        /// A later agent has written it.
        case newer(Int)
        /// It is none, or damaged.
        case unreadable
    }

    static func data(_ batch: Spool.Batch) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(
            File(
                version: version, ledger: batch.ledger, entries: batch.entries.map(Entry.init),
                claim: batch.claim.map(Claim.init)))
    }

    /// - Throws: `Problem`.
    static func batch(_ data: Data) throws(Problem) -> Spool.Batch {
        let decoder = JSONDecoder()
        guard let number = try? decoder.decode(Version.self, from: data).version else { throw .unreadable }
        guard number <= version else { throw .newer(number) }
        do {
            let file = try decoder.decode(File.self, from: data)
            return Spool.Batch(
                ledger: file.ledger, entries: try file.entries.map { try $0.entry() },
                claim: try file.claim.map { try $0.result() })
        } catch {
            throw .unreadable
        }
    }

    private struct Version: Codable { var version: Int }

    private struct File: Codable {
        var version: Int
        var ledger: String
        var entries: [Entry]
        var claim: Claim?
    }

    /// A value that must be there for what the entry is.
    static func needed<T>(_ value: T?) throws -> T {
        guard let value else { throw Problem.unreadable }
        return value
    }

    static func time(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }
}

// MARK: - Entries

extension SpoolFormat {
    private enum Kind: String, Codable {
        case beginRun = "begin_run"
        case completeRun = "complete_run"
        case abandonRun = "abandon_run"
        case adoptRun = "adopt_run"
        case publish, unpublish
        case completeDeployment = "complete_deployment"
        case settle, notify
        case removeNotification = "remove_notification"
        case postponeNotification = "postpone_notification"
    }

    private struct Entry: Codable {
        var kind: Kind
        /// Of a run, a deployment or a notification, by the kind.
        var id: Int64?
        var draft: Draft?
        var end: End?
        var of: Int64?
        var deployment: DeploymentEnd?
        /// Milliseconds since 1970.
        var at: Int64?

        init(_ entry: LedgerEntry) {
            switch entry {
            case .beginRun(let draft): (kind, self.draft) = (.beginRun, Draft(draft))
            case .completeRun(let run, let result): (kind, id, end) = (.completeRun, run, End(result))
            case .abandonRun(let run, let result): (kind, id, end) = (.abandonRun, run, End(result))
            case .adoptRun(let draft, let run, let end):
                (kind, self.draft, of, self.end) = (.adoptRun, Draft(draft), run, End(RunResult(end)))
            case .publish(let deployment): (kind, id) = (.publish, deployment)
            case .unpublish(let deployment): (kind, id) = (.unpublish, deployment)
            case .completeDeployment(let id, let result):
                (kind, self.id, deployment) = (.completeDeployment, id, DeploymentEnd(result))
            case .settle(let deployment): (kind, id) = (.settle, deployment)
            case .notify(let deployment, let time): (kind, id, at) = (.notify, deployment, time.milliseconds)
            case .removeNotification(let number): (kind, id) = (.removeNotification, number)
            case .postponeNotification(let number, let time):
                (kind, id, at) = (.postponeNotification, number, time.milliseconds)
            }
        }

        func entry() throws -> LedgerEntry {
            if kind == .beginRun { return .beginRun(try needed(draft).draft()) }
            if kind == .adoptRun {
                return .adoptRun(try needed(draft).draft(), of: of, try needed(end).result().end)
            }
            let id = try needed(id)
            switch kind {
            case .completeRun: return .completeRun(id, try needed(end).result())
            case .abandonRun: return .abandonRun(id, try needed(end).result())
            case .publish: return .publish(deployment: id)
            case .unpublish: return .unpublish(deployment: id)
            case .completeDeployment: return .completeDeployment(id, try needed(deployment).result())
            case .settle: return .settle(deployment: id)
            case .notify: return .notify(deployment: id, at: time(try needed(at)))
            case .removeNotification: return .removeNotification(id)
            case .postponeNotification: return .postponeNotification(id, until: time(try needed(at)))
            case .beginRun, .adoptRun: throw Problem.unreadable
            }
        }
    }

    private struct Claim: Codable {
        var app: String
        var name: String
        var fence: Int64
        var holder: String
        var commit: String
        var task: String?
        var run: Int64
        var end: End
        /// Milliseconds.
        var retryIn: Int64?

        init(_ claim: ClaimResult) {
            (app, name, fence, holder) = (claim.lease.app, claim.lease.name, claim.lease.fence, claim.lease.holder)
            (commit, task, run, end) = (claim.commit, claim.task, claim.run, End(claim.result))
            retryIn = claim.retryIn?.spooled
        }

        func result() throws -> ClaimResult {
            ClaimResult(
                lease: Lease(app: app, name: name, fence: fence, holder: holder), commit: commit, task: task, run: run,
                result: try end.result(), retryIn: retryIn.map { .milliseconds($0) })
        }
    }
}

// MARK: - Runs and deployments

extension SpoolFormat {
    private struct Draft: Codable {
        var kind: String
        var name: String
        var parentKind: String?
        var parent: Int64?
        var app: String
        var host: String
        var workspace: String
        var worker: String?
        var marker: String
        var command: String
        var folder: String
        var mode: String
        /// Milliseconds.
        var timeout: Int64
        var attempt: Int
        var startedAt: Int64
        var scope: RunScope
        var digest: String?
        var hookCommit: String?

        init(_ draft: RunDraft) {
            (kind, name) = (draft.kind.rawValue, draft.name)
            (parentKind, parent) = (draft.parent?.kind.rawValue, draft.parent?.id)
            (app, host, workspace) = (draft.place.app, draft.place.host, draft.place.workspace)
            (worker, marker, command, folder) = (draft.worker, draft.marker, draft.command, draft.folder)
            (mode, timeout, attempt) = (draft.mode, draft.timeout.spooled, draft.attempt)
            (startedAt, scope) = (draft.startedAt.milliseconds, draft.scope)
            (digest, hookCommit) = (draft.digest, draft.hookCommit)
        }

        func draft() throws -> RunDraft {
            let parent = try parentKind.map { RunParent(kind: .init(rawValue: $0), id: try needed(self.parent)) }
            return RunDraft(
                kind: RunKind(rawValue: kind), name: name, parent: parent,
                place: Scope(app: app, host: host, workspace: workspace), worker: worker, marker: marker,
                command: command, folder: folder, mode: mode, timeout: .milliseconds(timeout), attempt: attempt,
                startedAt: time(startedAt), scope: scope, digest: digest, hookCommit: hookCommit)
        }
    }

    private struct End: Codable {
        var status: RunStatus
        var exitCode: Int?
        var signal: Int?
        var completedAt: Int64
        var outputTail: String?
        var errorMessage: String?

        init(_ result: RunResult) {
            (status, exitCode, signal) = (result.status, result.exitCode, result.signal)
            (completedAt, errorMessage) = (result.completedAt.milliseconds, result.errorMessage)
            outputTail = result.outputTail.isEmpty ? nil : result.outputTail
        }

        func result() throws -> RunResult {
            RunResult(
                status: status, exitCode: exitCode, signal: signal, completedAt: time(completedAt),
                outputTail: outputTail ?? "", errorMessage: errorMessage)
        }
    }

    private struct DeploymentEnd: Codable {
        struct Tasks: Codable {
            var ran: Int
            var skipped: Int
            var failed: Int
            var error: String?
        }

        var status: DeploymentStatus
        var settled: Bool
        var retryAt: Int64?
        var warnings: Int
        var completedAt: Int64
        var errorMessage: String?
        var tasks: Tasks?

        init(_ result: DeploymentResult) {
            (status, settled, warnings) = (result.status, result.settled, result.warnings)
            (retryAt, completedAt) = (result.retryAt?.milliseconds, result.completedAt.milliseconds)
            errorMessage = result.errorMessage
            tasks = result.tasks.map { Tasks(ran: $0.ran, skipped: $0.skipped, failed: $0.failed, error: $0.error) }
        }

        func result() throws -> DeploymentResult {
            DeploymentResult(
                status: status, settled: settled, retryAt: retryAt.map(time), warnings: warnings,
                completedAt: time(completedAt), errorMessage: errorMessage,
                tasks: tasks.map { TaskCounts(ran: $0.ran, skipped: $0.skipped, failed: $0.failed, error: $0.error) })
        }
    }
}

extension Duration {
    /// In whole milliseconds.
    fileprivate var spooled: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}

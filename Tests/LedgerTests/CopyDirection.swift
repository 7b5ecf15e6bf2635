import Ledger
import TestSupport
import Testing

/// From which kind of store to which a record is copied.
struct CopyDirection: CustomTestStringConvertible {
    let from: StoreFactory
    let to: StoreFactory

    static let all = [StoreFactory.sqlite, .postgresql].flatMap { from in
        [StoreFactory.sqlite, .postgresql].map { CopyDirection(from: from, to: $0) }
    }

    var testDescription: String { "\(from.rawValue) to \(to.rawValue)" }
}

extension LedgerStore {
    /// Copies another record into this one.
    ///
    /// - Parameter pages: after how many pages it is interrupted.
    @discardableResult
    func copy(_ source: any LedgerStore, pageSize: Int = 2, pages: Int = .max) async throws -> RecordAddition {
        var sum = RecordAddition()
        var last: Int64 = 0
        var count = 0
        while count < pages {
            var page = try await source.page(after: last, limit: pageSize)
            guard let end = page.entries.last else { break }
            page.adoptions = sum.adoptions
            let addition = try await insert(page)
            sum.deployments += addition.deployments
            sum.runs += addition.runs
            sum.notifications += addition.notifications
            sum.skipped += addition.skipped
            sum.leftOut += addition.leftOut
            sum.adoptions = addition.adoptions
            last = end.deployment.id
            count += 1
        }
        return sum
    }

    /// Records a deployment that has ended, with its runs.
    @discardableResult
    func settle(
        _ draft: DeploymentDraft, _ result: DeploymentResult = .sample(.succeeded),
        runs: [(name: String, status: RunStatus)] = [("PRE_DEPLOY", .succeeded)]
    ) async throws -> Deployment {
        let deployment = try await begin(draft, firstRun: nil).deployment
        for run in runs {
            var run = (draft: RunDraft.sample(run.name, parent: deployment.id), status: run.status)
            run.draft.place = draft.scope
            let begun = try await write([.beginRun(run.draft)])
            try await write([.completeRun(begun[0].id, .sample(run.status))])
        }
        try await write([.publish(deployment: deployment.id), .completeDeployment(deployment.id, result)])
        return deployment
    }

    /// All deployments of an app on all hosts, the oldest first.
    func all(app: String = "shop") async throws -> [Deployment] {
        try await history(HistoryFilter(host: nil, subject: .app(app), limit: 10_000)).reversed()
    }

    /// All that the record holds, as text.
    func everything() async throws -> [String] {
        var texts: [String] = []
        var last: Int64 = 0
        while let entry = try await page(after: last, limit: 1).entries.first {
            texts.append(String(reflecting: entry))
            last = entry.deployment.id
        }
        return texts
    }
}

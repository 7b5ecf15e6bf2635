import Ledger
import TestSupport
import Testing

/// Moving a record from any store to any other.
@Suite(.timeLimit(.minutes(2)))
struct CopyTests {
    private let folders: (TemporaryFolder, TemporaryFolder)

    init() throws {
        folders = (try TemporaryFolder(), try TemporaryFolder())
    }

    private func make(_ direction: CopyDirection) async throws -> (from: any LedgerStore, to: any LedgerStore) {
        (try await direction.from.make(in: folders.0), try await direction.to.make(in: folders.1))
    }

    /// A record in which everything that there is occurs.
    private func fill(_ store: any LedgerStore) async throws {
        let first = try await store.settle(
            .sample(startedAt: 1_767_225_600_123), .sample(.failed, settled: false, retryAt: 5000),
            runs: [("PRE_DEPLOY", .failed), ("FAILED_DEPLOY", .timedOut)])
        try await store.settle(
            .sample(attempt: 2, series: first.id, previous: "z", startedAt: 2000), .sample(.succeeded, warnings: 3))
        let other = try await store.settle(.sample(commit: "b", app: "o'\"ther — €😀", host: "h2", startedAt: 3000))
        try await store.write([
            .notify(deployment: first.id, at: Timestamp(milliseconds: 7)),
            .notify(deployment: other.id, at: Timestamp(milliseconds: 8)),
        ])
        let due = try #require(try await store.nextNotification(other.scope))
        try await store.write([.postponeNotification(due.id, until: Timestamp(milliseconds: 9))])
        let (running, run) = try await store.begin(
            .sample(commit: "c", startedAt: 4000, trigger: .rollback, held: "d", withPre: true)
        ) {
            var draft = RunDraft.sample("POST_DEPLOY", parent: $0)
            draft.hookCommit = "of another repository"
            return draft
        }
        var adopted = RunDraft.sample(parent: running.id)
        adopted.scope = .fleet
        adopted.hookCommit = "of one more"
        try await store.write([
            .adoptRun(
                adopted, of: try #require(run).id,
                RunEnd(status: .failed, signal: 9, completedAt: Timestamp(milliseconds: 6), errorMessage: "killed"))
        ])
        let chatty = try await store.write([.beginRun(.sample("FAILED_DEPLOY", parent: running.id))])[0]
        var result = RunResult.sample(.succeeded)
        result.outputTail = String(repeating: "€\n", count: 20_000)
        try await store.write([.completeRun(chatty.id, result)])
    }

    @Test(
        "into an empty record all is copied as it was, ids too; a second time nothing is",
        arguments: CopyDirection.all, [1, 3, 100])
    func whole(direction: CopyDirection, pageSize: Int) async throws {
        let (from, to) = try await make(direction)
        try await fill(from)
        let copied = try await to.copy(from, pageSize: pageSize)
        #expect(
            copied.deployments == 4 && copied.runs == 7 && copied.notifications == 2 && copied.skipped == 0
                && copied.leftOut == 0 && copied.adoptions.isEmpty, "\(copied)")
        let (expected, found) = (try await from.everything(), try await to.everything())
        let isSame = expected == found
        #expect(isSame && found.count == 4)
        let rollback = try #require(try await to.deployment(4))
        #expect(rollback.held == "d" && rollback.withPre)
        #expect(try await to.runs(deployment: 4).map(\.hookCommit) == ["of another repository", "of one more", nil])
        #expect(try await to.failures(series: 1, name: "PRE_DEPLOY") == 1)
        let again = try await to.copy(from, pageSize: pageSize)
        #expect(again.skipped == 4 && again.deployments == 0 && again.runs == 0 && again.notifications == 0)
        let isUnchanged = try await to.everything() == expected
        #expect(isUnchanged)
    }

    @Test(
        "what begins after a copy gets ids of its own, and the copy is what it goes on from",
        arguments: CopyDirection.all)
    func goingOn(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        for number in 0..<5 { try await from.settle(.sample(commit: "c\(number)", startedAt: Int64(number))) }
        try await to.copy(from)
        let scope = DeploymentDraft.sample().scope
        #expect(try await to.facts(scope, commit: "c4").latestOfCommit?.status == .succeeded)
        #expect(try await to.lastRun(scope, kind: .hook, name: "PRE_DEPLOY")?.id == 5)
        let next = try await to.settle(.sample(commit: "d", startedAt: 99))
        #expect(next.id > 5)
        #expect(try await to.runs(deployment: next.id).allSatisfy { $0.id > 5 })
        // The record copied from goes on too, for a while.
        try await from.settle(.sample(commit: "e", startedAt: 100))
        let more = try await to.copy(from)
        #expect(more.deployments == 1 && more.skipped == 5)
        #expect(try await to.all().map(\.commit) == ["c0", "c1", "c2", "c3", "c4", "d", "e"])
    }

    @Test(
        "records of several hosts come together: ids are kept where they are free, references lead to the same things",
        arguments: CopyDirection.all)
    func merging(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        let stay = try await to.settle(.sample(commit: "x", host: "h0", startedAt: 1))
        for number in 0..<3 {
            let first = try await from.settle(
                .sample(commit: "c\(number)", startedAt: Int64(number * 10)), .sample(.failed, settled: false),
                runs: [("PRE_DEPLOY", .failed)])
            let second = try await from.settle(
                .sample(commit: "c\(number)", attempt: 2, series: first.id, startedAt: Int64(number * 10 + 5)),
                runs: [("PRE_DEPLOY", .failed), ("POST_DEPLOY", .succeeded)])
            try await from.write([.notify(deployment: second.id, at: Timestamp(milliseconds: 1))])
        }
        let copied = try await to.copy(from, pageSize: 1)
        #expect(copied.deployments == 6 && copied.runs == 9 && copied.notifications == 3, "\(copied)")
        #expect(try await to.deployment(stay.id)?.commit == "x")
        let all = try await to.all().filter { $0.scope.host == "h" }
        #expect(all.map(\.commit) == ["c0", "c0", "c1", "c1", "c2", "c2"] && all.map(\.attempt) == [1, 2, 1, 2, 1, 2])
        var lastRun: Int64 = 0
        for (index, deployment) in all.enumerated() {
            #expect(deployment.series == all[index / 2 * 2].id)
            let runs = try await to.runs(deployment: deployment.id)
            #expect(runs.map(\.name) == (index % 2 == 0 ? ["PRE_DEPLOY"] : ["PRE_DEPLOY", "POST_DEPLOY"]))
            for run in runs {
                #expect(run.id > lastRun && run.deployment == deployment.id)
                lastRun = run.id
            }
            #expect(try await to.failures(series: deployment.series, name: "PRE_DEPLOY") == 2)
        }
        let notification = try #require(try await to.nextNotification(all[0].scope))
        #expect(notification.deployment == all[1].id)
        #expect(try await to.copy(from).skipped == 6)
    }

    @Test("an id that is free is kept", arguments: CopyDirection.all)
    func freeIDs(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        for number in 0..<5 { try await from.settle(.sample(commit: "c\(number)", startedAt: Int64(number))) }
        _ = try await from.prune(DeploymentDraft.sample().scope, keep: 2, limit: 10)
        try await to.settle(.sample(commit: "x", host: "h0"))
        try await to.copy(from)
        #expect(try await to.all().map(\.id) == [1, 4, 5])
        #expect(try await to.runs(deployment: 5).map(\.id) == [5])
    }

    @Test("a copy that was interrupted is ended by the next one, wherever it stopped", arguments: CopyDirection.all)
    func interrupted(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        try await to.settle(.sample(commit: "x", host: "h0", startedAt: 1))
        var series: Int64?
        for number in 0..<6 {
            let made = try await from.settle(
                .sample(attempt: number + 1, series: series, startedAt: Int64(number)), .sample(.failed),
                runs: [("PRE_DEPLOY", .failed)])
            series = series ?? made.id
        }
        for pages in 1...3 { try await to.copy(from, pageSize: 2, pages: pages) }
        let all = try await to.all().filter { $0.scope.host == "h" }
        #expect(all.map(\.attempt) == [1, 2, 3, 4, 5, 6] && Set(all.map(\.series)) == [all[0].id])
        #expect(try await to.failures(series: all[0].id, name: "PRE_DEPLOY") == 6)
    }

    @Test(
        "what an agent deploys between an interrupted copy and the next one stays the newest",
        arguments: CopyDirection.all)
    func interruptedInUse(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        for number in 0..<6 { try await from.settle(.sample(commit: "c\(number)", startedAt: Int64(number))) }
        try await to.copy(from, pageSize: 2, pages: 1)
        try await to.settle(.sample(commit: "new", startedAt: 100))
        let rest = try await to.copy(from)
        #expect(rest.deployments == 4 && rest.skipped == 2 && rest.leftOut == 0)
        #expect(try await to.all().map(\.commit) == ["c0", "c1", "c2", "c3", "c4", "c5", "new"])
    }

    @Test(
        "what would come before newer deployments of its workspace, with no ids left before those, is left out",
        arguments: CopyDirection.all)
    func leftOut(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        for number in 0..<4 { try await from.settle(.sample(commit: "c\(number)", startedAt: Int64(number))) }
        try await from.settle(.sample(commit: "c", host: "h2"))
        try await to.settle(.sample(commit: "new", startedAt: 100))
        let copied = try await to.copy(from)
        #expect(copied.leftOut == 4 && copied.deployments == 1)
        #expect(try await to.facts(DeploymentDraft.sample().scope, commit: "new").latest?.commit == "new")
    }

    @Test("the order of a workspace's deployments is the record's, even where its clock went back")
    func clock() async throws {
        let (from, to) = try await make(CopyDirection(from: .sqlite, to: .sqlite))
        for (number, time) in [50, 10, 70, 20].enumerated() {
            try await from.settle(.sample(commit: "c\(number)", startedAt: Int64(time)))
        }
        try await to.copy(from, pageSize: 1, pages: 2)
        #expect(try await to.copy(from, pageSize: 1).leftOut == 0)
        #expect(try await to.all().map(\.commit) == ["c0", "c1", "c2", "c3"])
    }

    @Test("a series whose first attempts were deleted stays one series", arguments: CopyDirection.all)
    func prunedSeries(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        // The number of the series is another deployment's here.
        try await to.settle(.sample(commit: "x", host: "h0", startedAt: 1))
        var series: Int64?
        for number in 0..<5 {
            let made = try await from.settle(
                .sample(attempt: number + 1, series: series, startedAt: Int64(number)), .sample(.failed),
                runs: [("PRE_DEPLOY", .failed)])
            series = series ?? made.id
        }
        _ = try await from.prune(DeploymentDraft.sample().scope, keep: 3, limit: 10)
        try await to.copy(from, pageSize: 1, pages: 1)
        try await to.copy(from, pageSize: 1)
        let all = try await to.all().filter { $0.scope.host == "h" }
        let other = try await to.all().filter { $0.scope.host == "h0" }
        #expect(all.map(\.attempt) == [3, 4, 5] && Set(all.map(\.series)).count == 1)
        #expect(all[0].series != other[0].series)
        #expect(try await to.failures(series: all[0].series, name: "PRE_DEPLOY") == 5)
    }

    @Test(
        "a run that took over the result of a later deployment's run refers to that run", arguments: CopyDirection.all)
    func adoption(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        for number in 0..<3 { try await to.settle(.sample(commit: "x\(number)", host: "h0", startedAt: 1)) }
        let early = try await from.begin(.sample(host: "h1"), firstRun: nil).deployment
        let late = try await from.settle(.sample(host: "h2"))
        let original = try #require(try await from.runs(deployment: late.id).first)
        try await from.write([.adoptRun(.sample(parent: early.id), of: original.id, RunResult.sample(.succeeded).end)])
        let first = try await to.copy(from, pageSize: 1, pages: 1)
        #expect(first.adoptions.count == 1)
        #expect(try await to.copy(from, pageSize: 1).adoptions.isEmpty)
        let all = try await to.all()
        let copies = try #require(all.first { $0.scope.host == "h1" })
        let originals = try #require(all.first { $0.scope.host == "h2" })
        let made = try #require(try await to.runs(deployment: originals.id).first)
        #expect(try await to.runs(deployment: copies.id).map(\.adopted) == [made.id])
    }

    @Test("what was copied while it ran is set right by a copy after its end", arguments: CopyDirection.all)
    func ended(direction: CopyDirection) async throws {
        let (from, to) = try await make(direction)
        try await to.settle(.sample(commit: "x", host: "h0", startedAt: 1))
        let (deployment, begun) = try await from.begin(.sample()) { .sample(parent: $0) }
        try await to.copy(from)
        let scope = deployment.scope
        #expect(try await to.unfinished(hosts: nil, workspace: "/w").runs.count == 1)
        let id = try await to.facts(scope, commit: "a").latest?.id
        let later = try await from.write([
            .completeRun(try #require(begun).id, .sample(.succeeded)),
            .beginRun(.sample("POST_DEPLOY", parent: deployment.id)),
        ])
        try await from.write([
            .completeRun(later[0].id, .sample(.failed)), .completeDeployment(deployment.id, .sample(.succeeded)),
        ])
        let again = try await to.copy(from)
        #expect(again.deployments == 1 && again.skipped == 0)
        let latest = try #require(try await to.facts(scope, commit: "a").latest)
        #expect(latest.id == id && latest.status == .succeeded && latest.settled)
        #expect(try await to.runs(deployment: latest.id).map(\.status) == [.succeeded, .failed])
        #expect(try await to.unfinished(hosts: nil, workspace: "/w").runs.isEmpty)
        #expect(try await to.copy(from).skipped == 1)
    }

    @Test("agents that deploy while a record is copied into theirs take no id twice", arguments: StoreFactory.allCases)
    func beside(factory: StoreFactory) async throws {
        let (from, to) = try await make(CopyDirection(from: .sqlite, to: factory))
        for number in 0..<40 { try await from.settle(.sample(commit: "c\(number)", startedAt: Int64(number))) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for host in 1...3 {
                group.addTask {
                    for number in 0..<20 {
                        try await to.settle(.sample(commit: "\(number)", host: "h\(host)", startedAt: Int64(number)))
                    }
                }
            }
            group.addTask { try await to.copy(from, pageSize: 3) }
            try await group.waitForAll()
        }
        let all = try await to.all()
        #expect(all.count == 100 && all.filter { $0.scope.host == "h" }.count == 40)
        for host in 1...3 {
            #expect(all.filter { $0.scope.host == "h\(host)" }.map(\.commit) == (0..<20).map(String.init))
        }
        #expect(try await to.copy(from).skipped == 40)
    }

    @Test("whatever the order and the interruptions, nothing is lost, doubled or out of order", arguments: 0..<12)
    func random(seed: Int) async throws {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        func below(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        var folders: [TemporaryFolder] = []
        func store() async throws -> any LedgerStore {
            folders.append(try TemporaryFolder())
            return try await StoreFactory.sqlite.make(in: folders[folders.count - 1])
        }
        let to = try await store()
        var sources: [any LedgerStore] = []
        var expected: [String: [Int64]] = [:]
        for host in 0..<3 {
            let source = try await store()
            var time: Int64 = 0
            for _ in 0..<below(12) + 1 {
                time += 1
                let workspace = "/w\(below(2))"
                try await source.settle(
                    .sample(commit: "c\(below(3))", host: "h\(host)", workspace: workspace, startedAt: time),
                    runs: Array(repeating: ("PRE_DEPLOY", .succeeded), count: below(3)))
                expected["h\(host)\(workspace)", default: []].append(time)
            }
            sources.append(source)
        }
        for _ in 0..<6 {
            try await to.copy(sources[below(3)], pageSize: below(4) + 1, pages: below(4))
        }
        for source in sources { #expect(try await to.copy(source, pageSize: below(4) + 1).leftOut == 0) }
        let found = Dictionary(grouping: try await to.all(), by: { $0.scope.host + $0.scope.workspace })
            .mapValues { $0.map(\.startedAt.milliseconds) }
        #expect(found == expected)
        var (copied, original) = (0, 0)
        for deployment in try await to.all() { copied += try await to.runs(deployment: deployment.id).count }
        for source in sources {
            for deployment in try await source.all() {
                original += try await source.runs(deployment: deployment.id).count
            }
        }
        #expect(copied == original)
    }
}

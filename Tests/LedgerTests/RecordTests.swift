import Ledger
import TestSupport
import Testing

/// What every store of the record must do: what was written reads back as it was.
@Suite(.timeLimit(.minutes(1)))
struct RecordTests {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    @Test(
        "texts of any kind read back as they were, and what is not known as nothing", arguments: StoreFactory.allCases)
    func deploymentTexts(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var draft = DeploymentDraft.sample(workspace: "/srv/it's \"quoted\"", startedAt: 1_767_225_600_123)
        draft.subject = "it's \"quoted\" — €😀\n'); DROP TABLE runs"
        draft.author = "Ä. Ü"
        draft.ref = nil
        draft.trigger = .webhook
        let begun = try await store.begin(draft, firstRun: nil).deployment
        let read = try #require(try await store.deployment(begun.id))
        for deployment in [begun, read] {
            #expect(deployment.scope == draft.scope && deployment.subject == draft.subject)
            #expect(deployment.author == draft.author && deployment.trigger == .webhook)
            #expect(deployment.ref == nil && deployment.previousCommit == nil && deployment.errorMessage == nil)
            #expect(deployment.startedAt == draft.startedAt && !deployment.published && deployment.warnings == 0)
        }
    }

    @Test("a run's command, folder, mode and times read back, and a long tail whole", arguments: StoreFactory.allCases)
    func runTexts(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var draft = RunDraft.sample(parent: try await store.begin(.sample(), firstRun: nil).deployment.id)
        draft.command = "echo 'a'; echo \"€\"\nexit 1"
        draft.folder = "hooks/pre deploy"
        draft.mode = "lenient"
        draft.timeout = .milliseconds(5_400_123)
        draft.attempt = 3
        let run = try #require(try await store.write([.beginRun(draft)]).first)
        let tail = String(repeating: "line €\n", count: 7000)
        var result = RunResult.sample(.failed, exitCode: 255)
        result.outputTail = tail
        try await store.write([.completeRun(run.id, result)])
        let read = try #require(try await store.run(run.id))
        #expect(read.command == draft.command && read.folder == draft.folder && read.mode == "lenient")
        #expect(read.timeout == draft.timeout && read.attempt == 3 && read.startedAt == draft.startedAt)
        let isWhole = try await store.outputTail(run: run.id) == tail
        #expect(isWhole && read.exitCode == 255)
    }

    @Test("every status of a run reads back", arguments: StoreFactory.allCases, RunStatus.allCases)
    func runStatus(factory: StoreFactory, status: RunStatus) async throws {
        let store = try await factory.make(in: folder)
        let run = try #require(try await store.begin(.sample()) { .sample(parent: $0) }.run)
        try await store.write([.completeRun(run.id, .sample(status))])
        #expect(try await store.run(run.id)?.status == status)
    }

    @Test("every status of a deployment reads back, and lists alone", arguments: StoreFactory.allCases)
    func deploymentStatus(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        var ids: [DeploymentStatus: Int64] = [:]
        for status in DeploymentStatus.allCases {
            let id = try await store.begin(.sample(), firstRun: nil).deployment.id
            try await store.write([.completeDeployment(id, .sample(status))])
            ids[status] = id
        }
        for status in DeploymentStatus.allCases {
            let filter = HistoryFilter(host: "h", subject: .workspace("/w"), limit: 9, status: status)
            let listed = try await store.history(filter)
            #expect(listed.map(\.id) == [ids[status]] && listed.first?.status == status)
        }
    }

    @Test("noting that a deployment was published changes nothing else", arguments: StoreFactory.allCases)
    func publish(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let one = try await store.begin(.sample(), firstRun: nil).deployment
        let other = try await store.begin(.sample(), firstRun: nil).deployment
        try await store.write([.publish(deployment: one.id)])
        let read = try #require(try await store.deployment(one.id))
        #expect(read.published && read.status == .running && !read.settled)
        #expect(try await store.deployment(other.id)?.published == false)
    }

    @Test("one write returns the runs that began in it, in order", arguments: StoreFactory.allCases)
    func order(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        let (deployment, first) = try await store.begin(.sample()) { .sample(parent: $0) }
        let begun = try await store.write([
            .completeRun(try #require(first).id, .sample(.succeeded)), .publish(deployment: deployment.id),
            .beginRun(.sample("A", parent: deployment.id)), .beginRun(.sample("B", parent: deployment.id)),
        ])
        #expect(begun.map(\.name) == ["A", "B"])
        #expect(try await store.runs(deployment: deployment.id).map(\.name) == ["PRE_DEPLOY", "A", "B"])
    }

    @Test("what does not exist reads as nothing", arguments: StoreFactory.allCases)
    func missing(factory: StoreFactory) async throws {
        let store = try await factory.make(in: folder)
        #expect(try await store.deployment(1) == nil)
        #expect(try await store.run(1) == nil)
        #expect(try await store.runs(deployment: 1).isEmpty)
        #expect(try await store.history(HistoryFilter(host: "h", subject: .app("shop"), limit: 9)).isEmpty)
        #expect(try await store.failures(series: 1, name: "PRE_DEPLOY") == 0)
        let unfinished = try await store.unfinished(hosts: nil, workspace: "/w")
        #expect(unfinished.deployments.isEmpty && unfinished.runs.isEmpty)
        #expect(try await store.prune(DeploymentDraft.sample().scope, keep: 1, limit: 10).isEmpty)
    }
}

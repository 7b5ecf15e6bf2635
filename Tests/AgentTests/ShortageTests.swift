import Foundation
import Glibc
import Testing

private let usersCanBeChanged =
    geteuid() == 0 && system("setpriv --reuid=23450 --regid=23450 --clear-groups true 2>/dev/null") == 0

/// Limits of threads and descriptors: an attempt fails with the reason, and the agent neither hangs nor crashes.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct ShortageTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// What a shortage may end with: the attempt failed, the record or the lock could not be had, the agent could not start.
    private static let codes = [0, 1, 69, 71, 78]
    private static let reasons = [
        "temporarily unavailable", "no descriptor", "Too many open files", "cannot be opened",
    ]

    private func expectReason(_ ended: Ended) {
        #expect(Self.codes.contains(ended.code), "\(ended)")
        #expect(ended.code == 0 || Self.reasons.contains { ended.errors.contains($0) }, "\(ended)")
    }

    @Test(
        "run-once without threads ends with the reason; with one more than it needs it deploys",
        .enabled(if: usersCanBeChanged, "the limit counts the threads of a user, and this one cannot be another"),
        arguments: Array(1...13) + [40])
    func threads(count: Int) async throws {
        // A user of its own for each case: cases run beside each other.
        let user = "\(23_460 + count)"
        try await box.cloneWorkspace()
        try await box.sh("chmod 711 .; mkdir state; chown -R \(user) ws state out; chmod 755 out")
        let ended = try await box.start(
            program: [
                "setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "prlimit",
                "--nproc=\(count):\(count)", agentBinary, "run-once",
            ], ["GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": "touch $OUT/pre", "PRE_DEPLOY_TIMEOUT": "2"]
        ).ended(within: 30)
        expectReason(ended)
        if count == 40 { #expect(ended.code == 0 && box.has("pre"), "\(ended)") }
    }

    @Test("run-once without descriptors ends with the reason", arguments: [4, 6, 8] + Array(10...30))
    func descriptors(count: Int) async throws {
        try await box.cloneWorkspace()
        let ended = try await box.agent(
            "run-once",
            settings: ["GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": "touch $OUT/pre", "PRE_DEPLOY_TIMEOUT": "2"],
            limit: "ulimit -n \(count)")
        expectReason(ended)
        #expect(ended.code != 0 || box.has("pre"))
    }

    @Test("run goes on when threads or descriptors are short for a time, and hears SIGTERM meanwhile")
    func passing() async throws {
        try await box.cloneWorkspace()
        let agent = try box.start(
            "run",
            settings: [
                "GITHUB_REPO_URL": "", "PRE_DEPLOY_COMMAND": "echo $DEPLOY_COMMIT >> $OUT/pre",
                "GITHUB_SYNC_INTERVAL": "200ms", "ENABLE_DEV_HEALTH": "true",
                "DEV_HEALTH_PORT": try await box.freePort(),
            ])
        try await until("it has deployed", details: { agent.errors }) { box.lines("pre").count == 1 }
        let pid = try await agent.started()
        func limit(_ count: Int) async throws {
            try await box.sh("prlimit --pid \(pid) --nofile=\(count):4096")
        }
        // As many as it has open: not one more.
        try await limit(Processes.openDescriptors(pid))
        try await box.sh("git commit -q --allow-empty -m second", in: box.workspace)
        try await until("the shortage shows", details: { agent.errors }) {
            Self.reasons.contains { agent.errors.contains($0) }
        }
        try await limit(1024)
        let head = try await box.head()
        try await until("it has deployed again", details: { agent.errors }) { box.lines("pre").last == head }
        try await limit(Processes.openDescriptors(pid))
        try await agent.send(SIGTERM)
        #expect(try await agent.ended(within: 30).code == 0)
    }
}

import Foundation
import Testing

/// Commands that run beside a deployment, and publishing.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct BesideTests {
    let box: Box

    init() async throws { box = try await Box() }

    /// Deploys a first commit, and starts its task by hand, which looks at a file before and after the next one is published.
    private func start(_ settings: [String: String] = [:]) async throws -> Program {
        try await box.commit([
            "app.txt": "v1\n",
            "deploy.yaml": """
            tasks:
              - id: look-v1
                when: after-app
                run: |
                  test -e $OUT/go || exit 75
                  cat app.txt >> $OUT/seen; touch $OUT/began
                  until test -e $OUT/end; do sleep 0.05; done
                  cat app.txt >> $OUT/seen
            """,
        ])
        let once = try await box.once(settings)
        #expect(once.outcome == "deployed", "\(once)")
        try box.touch("go")
        let program = try box.start("tasks", "run", settings: settings)
        try await until("the task looks", details: { program.errors }) { box.has("began") }
        try await box.commit(["app.txt": "v2\n"])
        return program
    }

    @Test("in place publishing waits for a command, which sees the files of one commit")
    func waits() async throws {
        let byHand = try await start()
        let next = try box.start("run-once", "--json")
        try await until("it waits", details: { next.errors }) {
            next.errors.contains("waiting for a command that runs in the workspace, at most 1m")
        }
        #expect(box.text(box.workspace + "/app.txt") == "v1\n")
        try box.touch("end")
        #expect(try await byHand.ended().code == 0)
        #expect(try await JSON(next.ended().output)["outcome"].string == "deployed")
        #expect(box.lines("seen") == ["v1", "v1"] && box.text(box.workspace + "/app.txt") == "v2\n")
    }

    @Test("after AGENT_PUBLISH_WAIT it goes on, and says so")
    func limit() async throws {
        let byHand = try await start()
        let next = try await box.once(["AGENT_PUBLISH_WAIT": "100ms"])
        #expect(next.outcome == "deployed" && next.deployment["warnings"].int == 1, "\(next)")
        #expect(next.ended.errors.contains("still runs in the workspace after 100ms (AGENT_PUBLISH_WAIT)"))
        try box.touch("end")
        #expect(try await byHand.ended().code == 0)
        #expect(box.lines("seen") == ["v1", "v2"])
    }

    @Test("as a link nothing waits: the command keeps its release, which goes once it has ended")
    func link() async throws {
        let settings = ["AGENT_PUBLISH": "symlink", "AGENT_KEEP_RELEASES": "0"]
        let byHand = try await start(settings)
        let next = try await box.once(settings)
        #expect(next.outcome == "deployed" && !next.ended.errors.contains("waiting for a command"), "\(next)")
        #expect(box.text(box.workspace + "/app.txt") == "v2\n")
        try box.touch("end")
        #expect(try await byHand.ended().code == 0)
        #expect(box.lines("seen") == ["v1", "v1"])
        let count = "ls -d state/workspaces/*/releases/* | wc -l"
        #expect(try await Int(box.sh(count)) == 2)
        try await box.commit(["app.txt": "v3\n"])
        #expect(try await box.once(settings).outcome == "deployed")
        #expect(try await Int(box.sh(count)) == 1)
    }
}

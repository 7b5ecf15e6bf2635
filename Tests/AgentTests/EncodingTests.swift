import Foundation
import TestSupport
import Testing

/// A database for the record whose encoding lacks characters.
@Suite(.timeLimit(.minutes(2)), .fewAtOnce)
struct EncodingTests {
    @Test(
        "it is refused before anything runs, by all that run something and all that look",
        arguments: [["run-once"], ["run"], ["exec", "--", "touch", "app"], ["status"], ["history"], ["tasks"]])
    func refused(arguments: [String]) async throws {
        let cluster = try await SharedPostgres.cluster.value
        let box = try await Box()
        let database = try await cluster.makeDatabase("ENCODING LATIN1 TEMPLATE template0")
        let settings = [
            "AGENT_LEDGER_URL": cluster.url(database: database), "PRE_DEPLOY_COMMAND": "touch $OUT/ran",
            "AGENT_START_TIMEOUT": "50",
        ]
        let begin = ContinuousClock.now
        let ended = try await box.start(program: [agentBinary] + arguments, settings).ended()
        #expect(ended.code == 78 && ended.errors.contains("encoding is LATIN1"), "\(ended)")
        #expect(ended.errors.contains("ENCODING 'UTF8'") && !box.has("ran") && !box.has("app"))
        #expect(ContinuousClock.now - begin < .seconds(40))
    }
}

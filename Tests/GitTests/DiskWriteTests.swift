import Testing

@testable import Git

@Suite(.timeLimit(.minutes(1)))
struct DiskWriteTests {
    private struct Failed: Error {}

    @Test("what is written goes to the disk meanwhile, and what it comes to is handed on")
    func works() async throws {
        #expect(try await writingToDisk("/tmp") { 7 } == 7)
        await #expect(throws: Failed.self) { try await writingToDisk("/tmp") { throw Failed() } }
    }

    @Test("a write that failed meanwhile is not forgotten; where nothing takes long, none is begun")
    func fails() async throws {
        await #expect(throws: GitError.self) {
            // Longer than the first pause.
            try await writingToDisk("/nowhere") { try await Task.sleep(for: .milliseconds(200)) }
        }
        #expect(try await writingToDisk("/nowhere") { true })
    }
}

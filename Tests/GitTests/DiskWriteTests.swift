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
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        await #expect(throws: GitError.self) {
            try await writingToDisk(
                "/nowhere",
                by: {
                    begin.finish()
                    try await writeToDisk($0)
                },
                { for await _ in begun {} })
        }
        #expect(try await writingToDisk("/nowhere", firstPause: .seconds(3600)) { true })
    }
}

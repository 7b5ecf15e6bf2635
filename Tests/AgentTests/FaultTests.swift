import Foundation
import TestSupport
import Testing

/// The fleet in trouble, by the programs below `Tests/Faults`: what they do, and what must hold, is told there.
@Suite(.timeLimit(.minutes(5)), .fewAtOnce)
struct FaultTests {
    /// Runs Python to its end.
    private func python(_ arguments: String...) async throws -> Ended {
        let folder = try TemporaryFolder()
        let program = try Program(
            ["/usr/bin/env", "python3"] + arguments,
            environment: [
                // Network namespaces are made with programs that may lie below sbin.
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "HOME": folder.path,
                "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
            ], directory: packageRoot, folder: folder.path + "/python")
        return try await program.ended(within: 270)
    }

    @Test("a fleet stands kills, pauses, crashes and cuts: the short form of make test-faults")
    func short() async throws {
        let ended = try await python("Tests/Faults/main.py", agentBinary, "--short")
        #expect(ended.code == 0, "\(ended.output)\n\(ended.errors)")
    }

    @Test("the checker finds overlaps, commits without a result and results by stale fences")
    func checker() async throws {
        let ended = try await python("-m", "unittest", "discover", "-s", "Tests/Faults")
        #expect(ended.code == 0, "\(ended.output)\n\(ended.errors)")
    }
}

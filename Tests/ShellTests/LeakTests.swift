import Foundation
import TestSupport
import Testing

@testable import Shell

/// Alone in its suite and serialized: it counts what belongs to the whole process.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct LeakTests {
    private func names(in folder: String) -> Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).count
    }

    @Test("hundreds of runs leave no descriptor, thread or zombie behind")
    func leaks() async throws {
        func runs(_ count: Int) async throws {
            for number in 0..<count {
                _ = try await shell(number % 10 == 0 ? "(setsid sleep 0.01 &) ; exit 0" : "echo x")
            }
        }
        try await runs(20)
        let (descriptors, threads) = (names(in: "/proc/self/fd"), names(in: "/proc/self/task"))
        try await runs(300)
        // Other suites run beside this one and hold some for a moment; a leak would be a hundred.
        #expect(await eventually { names(in: "/proc/self/fd") < descriptors + 60 })
        #expect(await eventually { names(in: "/proc/self/task") < threads + 60 })
        let me = getpid()
        #expect(
            await eventually {
                reapOrphans()
                return ProcessTable.all().filter { $0.parent == me && $0.isZombie }.count < 5
            })
    }

    @Test(
        "hundreds of starts that fail leave no descriptor and no thread behind", arguments: ["/no/such", "/bin/true"])
    func failedStarts(executable: String) async throws {
        let folder = executable == "/bin/true" ? "/no/such" : "/"
        let command = Command(
            executable: executable, arguments: [], folder: folder, environment: [], marker: uniqueText(),
            timeout: .seconds(30), killGrace: .seconds(1))
        func attempts(_ count: Int) async {
            for _ in 0..<count {
                _ = try? await runCommand(
                    command, output: CollectedOutput(limit: 10), errors: CollectedOutput(limit: 10))
            }
        }
        await attempts(5)
        let (descriptors, threads) = (names(in: "/proc/self/fd"), names(in: "/proc/self/task"))
        await attempts(200)
        #expect(await eventually { names(in: "/proc/self/fd") < descriptors + 60 })
        #expect(await eventually { names(in: "/proc/self/task") < threads + 60 })
    }
}

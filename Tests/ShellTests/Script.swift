import Foundation
import TestSupport
import Testing

@testable import Shell

/// A shell script with a folder of its own. `$MK` marks its processes; it says that it is ready by writing the file `up`.
struct Script {
    /// Shell text that says it is ready and then waits for ever, as one process that stays what it is.
    static let waiting = ": > up; read x < fifo"

    let folder: TemporaryFolder
    let mark = uniqueText()
    var command: Command

    init(_ script: String, environment: [[UInt8]] = [], killGrace: Duration = .milliseconds(300)) throws {
        folder = try TemporaryFolder()
        try #require(mkfifo(folder.path + "/fifo", 0o600) == 0)
        command = Command(
            executable: "/bin/sh", arguments: ["-c", script], folder: folder.path,
            environment: [Array("PATH=/usr/bin:/bin".utf8), Array("MK=\(mark)".utf8)] + environment,
            marker: uniqueText(), timeout: .seconds(30), killGrace: killGrace)
    }

    func run(
        stop: StopSignal? = nil, started: @escaping @Sendable (ProcessMark) -> Void = { _ in }
    ) async throws -> (verdict: Verdict, output: String) {
        let output = CollectedOutput(limit: 1 << 22)
        let verdict = try await runCommand(command, output: output, stop: stop, started: started)
        return (verdict, output.text)
    }

    func waitUntilUp() async throws {
        try #require(await eventually { folder.exists("up") }, "the script never got ready")
    }

    /// Its processes that have not ended.
    var living: [Int32] { processes(holding: mark) }

    /// Ends what is meant to live on.
    func cleanUp() {
        for pid in living { kill(pid, SIGKILL) }
    }
}

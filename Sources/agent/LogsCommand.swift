import ArgumentParser
import DeployAgent
import Foundation
import Ledger
import Log

/// `agent logs`: the output of one run.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Print the output of one run.",
        discussion: """
            Example:
              agent logs 34 --follow
            """)

    @Argument(help: "The run's id, as `agent show` gives it.")
    var run: Int64

    @Flag(help: "Go on printing until the run has ended.")
    var follow = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, reporter in
            let reader = try await RecordReader(session: session)
            guard var entry = try await reader.run(run) else {
                reporter.say("no run \(run) in the record; `agent show` lists a deployment's runs")
                return .notFound
            }
            if let original = entry.adopted, let ran = try await reader.run(original) {
                reporter.say("run \(run) took over the result of run \(original) on another host, whose output this is")
                entry = ran
            }
            var follower = LogFollower(path: reader.logPath(entry) ?? "")
            var found = follower.print()
            while follow && entry.status == .running {
                // On another host there is nothing to read before the end, and a server that is asked each time.
                try await Task.sleep(for: .milliseconds(found ? 200 : 1000))
                guard let now = try await reader.run(entry.id) else { break }
                entry = now
                found = follower.print() || found
            }
            if !found {
                // The log file may be gone with its disk, or on another host; the record keeps the end.
                let tail = try await reader.outputTail(entry)
                write(Array(session.log.mask(tail).utf8))
                if entry.status == .skipped {
                    reporter.say("run \(entry.id) was skipped: \(session.log.mask(entry.errorMessage ?? ""))")
                } else if !tail.isEmpty {
                    reporter.say("the log file is not here; this is the end of the output as the record has it")
                }
            }
            return .success
        }
    }
}

/// Copies what was added to a file to standard output.
private struct LogFollower {
    let path: String
    private var offset: UInt64 = 0

    init(path: String) {
        self.path = path
    }

    /// - Returns: whether the file is there.
    mutating func print() -> Bool {
        guard let file = FileHandle(forReadingAtPath: path) else { return false }
        defer { try? file.close() }
        // A log past its limit is shortened at its end, when its last half is put in place.
        let size = (try? file.seekToEnd()) ?? 0
        if size < offset { offset = size }
        try? file.seek(toOffset: offset)
        while let chunk = try? file.read(upToCount: 1 << 20), !chunk.isEmpty {
            write(Array(chunk))
            offset += UInt64(chunk.count)
        }
        return true
    }
}

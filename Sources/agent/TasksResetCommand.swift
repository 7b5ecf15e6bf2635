import ArgumentParser
import DeployAgent
import Ledger

/// `agent tasks reset`: makes a task as if it had never run.
struct TasksResetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset",
        abstract: "Forget that a task was done or tried: it runs again.",
        discussion: """
            What it has changed stays changed. A new id for new work is mostly better. Who did so, and when, is recorded.

            Example:
              agent tasks reset seed-demo-data-v1 --yes
            """)

    @Argument(help: "The task's id.")
    var id: String

    @Flag(help: "Needed: what is done once is done again.")
    var yes = false

    @Flag(help: "Print the task as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard yes else {
            throw ValidationError("\"\(id)\" would run again at the next deployment or start; --yes if that is meant")
        }
    }

    func run() async throws {
        try await common.act(id, json: json, said: "is as if it had never run; the next deployment or start runs it") {
            desk in
            try await desk.reset(id)
        }
    }
}

extension CommonOptions {
    /// Does something about a task and says what came of it.
    ///
    /// - Parameters:
    ///   - said: what is true of the task afterwards.
    ///   - runsAgain: whether that is to have it run.
    func act(
        _ id: String, json: Bool, said: String, runsAgain: Bool = true,
        _ body: (TaskDesk) async throws -> TaskDesk.Answer
    ) async throws {
        try await session { session, reporter in
            let ledger = try session.openLedger(deploys: false)
            defer { ledger.close() }
            switch try await body(TaskDesk(session: session, ledger)) {
            case .done(let task):
                if json { try printJSON(task) } else { printLine("task \(task.record.id) \(said)") }
                if runsAgain, task.task == nil { reporter.say("it is no longer in the file: nothing runs it") }
                return .success
            case .running(let held):
                reporter.say(
                    "task \(id) runs on \(held.host)\(held.run.map { " (run \($0))" } ?? ""); nothing was changed")
                return .temporary
            case .nothing(let reason):
                reporter.say("nothing was changed: \(reason)")
                return .notFound
            }
        }
    }
}

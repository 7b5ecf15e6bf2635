import ArgumentParser
import DeployAgent
import Ledger
import Log

/// `agent ledger check`: what there is, and what is wrong with it.
struct LedgerCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say where the record is, what it holds, and what is wrong with it; changes nothing.",
        discussion: """
            Ends with 1 when something is wrong with the record, with 69 when it cannot be reached or read.

            Example:
              agent ledger check --workspace /srv/shop
            """)

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, _ in
            let check: LedgerCheck
            do {
                check = try await LedgerCheck(session: session)
            } catch let error as LedgerError {
                if json { try printJSON(LedgerCheck(session: session, failure: error)) }
                throw error
            }
            let mask = session.log.mask
            if json {
                try printJSON(check)
            } else if check.exists {
                let lines = [
                    check.problems.map { "problem: \($0)" }, check.warnings.map { "warning: \($0)" },
                    check.notes.map { "note: \($0)" },
                ].flatMap { $0 }
                printLine(
                    mask(table([["WHAT", "FOUND"]] + check.rows.map { $0.map(\.withoutControls) })))
                if !lines.isEmpty { printLine("\n" + mask(lines.map(\.withoutControls).joined(separator: "\n"))) }
            } else {
                printLine(mask("no record yet: \(check.ledger)"))
            }
            return check.problems.isEmpty ? .success : .failure
        }
    }
}

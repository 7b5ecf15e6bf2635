import ArgumentParser
import DeployAgent
import Ledger
import Settings

/// `agent ledger copy`: one record into another.
struct LedgerCopyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy",
        abstract: "Copy a record into another one, which is made when it is not there.",
        discussion: """
            Stop the agents first. What is there already is not copied again, so it may be repeated, and several \
            records may be copied into one. In PostgreSQL the tables are in the schema AGENT_LEDGER_SCHEMA. A password \
            on the command line is seen by whoever may list processes: PGPASSWORD and ~/.pgpass hold it better.

            Example:
              agent ledger copy sqlite:/var/lib/deploy-agent/ledger.sqlite postgresql://deploy@db/deploy
            """)

    @Argument(help: ArgumentHelp("The record to copy, as in AGENT_LEDGER_URL.", valueName: "from"))
    var from: String

    @Argument(help: ArgumentHelp("The record to copy it into, as in AGENT_LEDGER_URL.", valueName: "to"))
    var to: String

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.session { session, reporter in
            var addresses: [LedgerAddress] = []
            for (name, text) in [("FROM", from), ("TO", to)] {
                do throws(NoLedger) {
                    addresses.append(try session.ledgerAddress(text))
                } catch {
                    // Without the text, which may hold a password anywhere.
                    reporter.say(
                        "\(name) names no record: \(error); it takes sqlite:PATH, postgresql://… or libpq's keyword=value pairs"
                    )
                    return .validationFailure
                }
            }
            let copy = RecordCopy(from: addresses[0], to: addresses[1], session: session)
            do {
                guard let report = try await copy.run() else {
                    reporter.say("FROM and TO are the same record: \(addresses[0].description)")
                    return .validationFailure
                }
                if json { try printJSON(report) } else { printLine(copy.mask(report.text)) }
                for warning in report.warnings { reporter.say(copy.mask(warning), isWarning: true) }
                return report.leftOut == 0 ? .success : .failure
            } catch let error as LedgerError {
                reporter.say(copy.mask(error.description))
                return .of(error)
            }
        }
    }
}

import ArgumentParser

/// `agent ledger`: what is done with the record itself.
struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger",
        abstract: "Look at the record itself, or copy it into another one.",
        discussion: """
            Example:
              agent ledger check
            """,
        subcommands: [LedgerCopyCommand.self, LedgerCheckCommand.self])
}

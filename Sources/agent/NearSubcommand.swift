import ArgumentParser
import DeployAgent
import Settings

extension AgentCommand {
    /// What the parser says of wrong usage, with the subcommand that was most likely meant.
    ///
    /// - Parameters:
    ///   - message: as the parser has it: what is wrong in the first line.
    ///   - arguments: as they were given.
    static func withNearSubcommand(_ message: String, _ arguments: some Sequence<String>) -> String {
        var subcommands = configuration.subcommands
        for word in arguments where !word.hasPrefix("-") {
            if let command = subcommands.first(where: { $0.configuration.commandName == word }) {
                subcommands = command.configuration.subcommands
                continue
            }
            let lines = message.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
            let names = subcommands.compactMap { $0.configuration.commandName }
            guard lines[0].contains("'\(word)'"), let near = NearMiss.key(for: word, among: names) else { break }
            return (["\(lines[0]); did you mean `\(near)`?"] + lines.dropFirst().map(String.init))
                .joined(separator: "\n")
        }
        return message
    }
}

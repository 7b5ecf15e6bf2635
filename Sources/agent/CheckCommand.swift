import ArgumentParser
import DeployAgent
import Log
import Settings

/// `agent check`: all settings and where each came from.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Read all settings and print them with where each came from; runs nothing.",
        discussion: """
            Secrets are masked. Ends with 78 when a setting is wrong.

            Example:
              agent check --workspace /srv/shop
            """)

    @Flag(help: "Print as JSON.")
    var json = false

    @OptionGroup var common: CommonOptions

    private struct Report: Encodable {
        struct Entry: Encodable {
            var name: String
            var value: String?
            var fallback: String
            var source: String

            enum CodingKeys: String, CodingKey {
                case name, value, source
                case fallback = "default"
            }

            func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: CodingKeys.self)
                try container.encode(name, forKey: .name)
                try container.encode(value, forKey: .value)
                try container.encode(fallback, forKey: .fallback)
                try container.encode(source, forKey: .source)
            }
        }
        var app: String
        var host: String
        var workspace: String
        var settings: [Entry]
        var exports: [String]
        /// Ids, in the order of the file.
        var tasks: [String]
        var warnings: [String]
    }

    func run() async throws {
        try await common.session { session, reporter in
            if let problem = session.specProblem { throw problem }
            let settings = session.settings
            let (_, file, note) = try await session.deployFile()
            let tasks = file?.tasks.map(\.id) ?? []
            let warnings =
                settings.warnings(withTasks: !tasks.isEmpty) + settings.remarks + [note].compactMap { $0 }
                + (await session.advice())
            if json {
                try printJSON(
                    Report(
                        app: settings.app, host: settings.host, workspace: settings.workspace,
                        settings: settings.listing.map {
                            .init(name: $0.name, value: $0.value, fallback: $0.fallback, source: "\($0.source)")
                        },
                        exports: settings.exports.keys.sorted(), tasks: tasks, warnings: warnings))
            } else {
                printLine(
                    table(
                        [["SETTING", "SOURCE", "VALUE"]]
                            + settings.listing.map {
                                [$0.name, "\($0.source)", ($0.value ?? "(\($0.fallback))").withoutControls]
                            })
                )
                if !settings.exports.isEmpty {
                    printLine("\nThe hooks also get: \(settings.exports.keys.sorted().joined(separator: ", "))")
                }
                if let file, !tasks.isEmpty {
                    printLine("\nTasks in \(file.file): \(tasks.joined(separator: ", ").withoutControls)")
                }
            }
            for warning in warnings { reporter.say(warning, isWarning: true) }
            return .success
        }
    }
}

/// What is wrong with the settings: everything at once, so that it can be set right in one go.
public struct SettingsError: Error, Sendable, CustomStringConvertible {
    public struct Problem: Sendable, Equatable {
        /// The variable, or the file.
        public var name: String
        /// What is wrong with which value, secrets masked.
        public var text: String
        public var source: SettingSource

        public init(name: String, text: String, source: SettingSource) {
            self.name = name
            self.text = text
            self.source = source
        }
    }

    public var problems: [Problem]
    /// Names that look like a setting but are none: perhaps why another one is missing.
    public var nearMisses: [String]

    public init(_ problems: [Problem], nearMisses: [String] = []) {
        self.problems = problems
        self.nearMisses = nearMisses
    }

    public init(_ name: String, _ text: String, source: SettingSource) {
        self.init([Problem(name: name, text: text, source: source)])
    }

    /// Whether the app spec alone is wrong, which another commit may set right.
    package var isOfSpec: Bool {
        problems.allSatisfy { if case .appspec = $0.source { true } else { false } }
    }

    /// One whose description is this, as another process has it.
    package init(inWords text: String) {
        let parts = text.split(separator: ": ", maxSplits: 1).map(String.init)
        self.init(parts.first ?? "", parts.last ?? "", source: .fallback)
    }

    public var description: String {
        problems.map { problem in
            switch problem.source {
            case .fallback: "\(problem.name): \(problem.text)"
            default: "\(problem.name): \(problem.text) (\(problem.source))"
            }
        }.joined(separator: "\n")
    }
}

/// Where a setting's value came from.
public enum SettingSource: Sendable, Equatable, CustomStringConvertible {
    case option(String)
    case environment
    case appspec(file: String, line: Int)
    case fallback

    public var description: String {
        switch self {
        case .option(let name): "option \(name)"
        case .environment: "environment"
        case .appspec(let file, let line): "\(file) line \(line)"
        case .fallback: "default"
        }
    }
}

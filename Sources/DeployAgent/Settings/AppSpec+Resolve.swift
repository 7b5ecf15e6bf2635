extension AppSpec {
    /// What holds for one service in one process environment.
    struct Resolved: Sendable, Equatable {
        /// Values by key; entries that could not be resolved are left out.
        var values: [String: Entry] = [:]
        /// Keys whose value is secret, wherever it comes from.
        var secretKeys: Set<String> = []
        /// Values of SECRET entries as they stand in the spec.
        var secretValues: [String] = []
        var warnings: [String] = []
        var problems: [SettingsError.Problem] = []
    }

    /// Picks the service's entries over the top-level ones and replaces `${NAME}` from the process environment.
    ///
    /// - Parameter service: `AGENT_SERVICE` of the environment; nil takes what the spec names, or the only service.
    func resolve(service: String?, environment: ProcessEnvironment) -> Resolved {
        var chosen: Service?
        var resolved = Resolved()
        if let service = service.map({ Sourced(value: $0, source: .environment) }) ?? namedService {
            chosen = services.first { $0.name == service.value }
            if chosen == nil {
                let names = services.map { "\"\($0.name)\"" }.joined(separator: ", ")
                resolved.problems.append(
                    SettingsError.Problem(
                        name: Setting.service.name,
                        text: "\"\(service.value)\" is no service of \(file); it has \(names.isEmpty ? "none" : names)",
                        source: service.source))
            }
        } else if services.count == 1 {
            chosen = services[0]
        } else if services.contains(where: { !$0.entries.isEmpty }) {
            resolved.warnings.append(
                "\(file) has \(services.count) services; their envs are left out until AGENT_SERVICE names one")
        }
        resolved.secretKeys = Set(secrets.map(\.key))
        resolved.secretValues = secrets.compactMap(\.value)
        for entry in entries + (chosen?.entries ?? []) {
            let expansion = Self.expand(entry.value, environment)
            if !expansion.isValue, environment[entry.key] == nil,
                Hook.allCases.contains(where: { Setting.command($0).name == entry.key })
            {
                // Left out, the hook would be missing without a failure: the gate would stand open.
                resolved.problems.append(
                    SettingsError.Problem(
                        name: entry.key,
                        text:
                            "its value cannot be resolved, and without it the hook would not run; set what it refers to "
                            + "in the environment, or write $NAME without braces to leave it to the shell",
                        source: .appspec(file: file, line: entry.line)))
                continue
            }
            switch expansion {
            case .value(let text):
                var entry = entry
                entry.value = text
                resolved.values[entry.key] = entry
            case .platform:
                // The platform puts such values into the process environment; only their absence is worth a word.
                if environment[entry.key] == nil {
                    resolved.warnings.append(
                        "\(file) line \(entry.line): \(entry.key) has no value that the agent can read; it is left out")
                }
            case .unresolved(let name):
                if environment[entry.key] == nil {
                    resolved.warnings.append(
                        "\(file) line \(entry.line): \(entry.key) is left out: ${\(name)} is not set in the environment"
                    )
                }
            }
        }
        return resolved
    }

    private enum Expansion {
        case value(String)
        case platform
        case unresolved(String)

        var isValue: Bool {
            if case .value = self { true } else { false }
        }
    }

    /// Replaces `${NAME}`; a dollar sign without a brace stays as it is.
    private static func expand(_ value: String?, _ environment: ProcessEnvironment) -> Expansion {
        guard let value else { return .platform }
        if value.hasPrefix("EV["), value.hasSuffix("]") { return .platform }
        var result = ""
        var rest = value[...]
        while let open = rest.firstRange(of: "${") {
            guard let close = rest[open.upperBound...].firstIndex(of: "}") else { break }
            result += rest[..<open.lowerBound]
            let name = String(rest[open.upperBound..<close])
            guard let text = environment[name] else { return .unresolved(name) }
            result += text
            rest = rest[rest.index(after: close)...]
        }
        return .value(result + rest)
    }

    /// The service that the spec itself names, in its top-level envs.
    private var namedService: Sourced<String>? {
        guard let entry = entries.last(where: { $0.key == Setting.service.name }), let name = entry.value,
            !name.isBlank
        else { return nil }
        return Sourced(value: name.trimmingSpace, source: .appspec(file: file, line: entry.line))
    }
}

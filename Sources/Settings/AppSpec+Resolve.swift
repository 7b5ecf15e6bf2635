package import Shell

extension AppSpec {
    /// What holds for one service in one process environment.
    package struct Resolved: Sendable, Equatable {
        /// Values by key; entries that could not be resolved are left out.
        package var values: [String: Entry] = [:]
        /// Keys whose value is secret, wherever it comes from.
        package var secretKeys: Set<String> = []
        /// Values of SECRET entries as they stand in the spec.
        package var secretValues: [String] = []
        package var warnings: [String] = []
        package var problems: [SettingsError.Problem] = []
    }

    /// Picks the service's entries over the top-level ones and replaces `${NAME}` from the process environment.
    ///
    /// - Parameter service: `AGENT_SERVICE` of the environment; nil takes what the spec names, or the only service.
    package func resolve(service: String?, environment: ProcessEnvironment) -> Resolved {
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
        // Also those that are not exported: what they refer to is secret wherever it is printed.
        for value in secrets.compactMap(\.value) {
            // References alone tell nothing; what is missing could not be named.
            if !Self.isReference(value) { resolved.secretValues.append(value) }
            resolved.secretValues += Self.references(in: value).compactMap { environment[$0] }
        }
        for entry in entries + (chosen?.entries ?? []) {
            // Without its command a hook does not run: that wants more than a word.
            let consequence =
                Hook.allCases.first { Setting.command($0).name == entry.key }.map {
                    "; \($0.rawValue) DOES NOT RUN. Set what is missing in the environment, or write $NAME without braces to leave it to the shell"
                } ?? ""
            switch Self.expand(entry.value, environment) {
            case .value(let text):
                var entry = entry
                entry.value = text
                resolved.values[entry.key] = entry
            case .platform:
                // The platform puts such values into the process environment; only their absence is worth a word.
                if environment[entry.key] == nil {
                    resolved.warnings.append(
                        "\(file) line \(entry.line): \(entry.key) has no value that the agent can read; it is left out\(consequence)"
                    )
                }
            case .unresolved(let name):
                if environment[entry.key] == nil {
                    resolved.warnings.append(
                        "\(file) line \(entry.line): \(entry.key) is left out: ${\(name)} is not set in the environment\(consequence)"
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
    }

    /// Replaces `${NAME}`; a dollar sign without a brace stays as it is.
    private static func expand(_ value: String?, _ environment: ProcessEnvironment) -> Expansion {
        guard let value else { return .platform }
        if value.hasPrefix("EV["), value.hasSuffix("]") { return .platform }
        var result = ""
        for part in parts(of: value) {
            switch part {
            case .text(let text): result += text
            case .reference(let name):
                guard let text = environment[name] else { return .unresolved(name) }
                result += text
            }
        }
        return .value(result)
    }

    private enum Part {
        case text(Substring)
        case reference(String)
    }

    /// Cuts a value at each `${NAME}`.
    private static func parts(of value: String) -> [Part] {
        var parts: [Part] = []
        var rest = value[...]
        while let open = rest.firstRange(of: "${"), let close = rest[open.upperBound...].firstIndex(of: "}") {
            parts += [.text(rest[..<open.lowerBound]), .reference(String(rest[open.upperBound..<close]))]
            rest = rest[rest.index(after: close)...]
        }
        return parts + [.text(rest)]
    }

    /// Whether nothing stands in a value but `${NAME}`.
    private static func isReference(_ value: String) -> Bool {
        parts(of: value).allSatisfy { if case .text(let text) = $0 { String(text).isBlank } else { true } }
    }

    /// The names in a value's `${NAME}`.
    private static func references(in value: String) -> [String] {
        parts(of: value).compactMap { if case .reference(let name) = $0 { name } else { nil } }
    }

    /// The service that the spec itself names, in its top-level envs.
    private var namedService: Sourced<String>? {
        guard let entry = entries.last(where: { $0.key == Setting.service.name }), let name = entry.value,
            !name.isBlank
        else { return nil }
        return Sourced(value: name.trimmingSpace, source: .appspec(file: file, line: entry.line))
    }
}

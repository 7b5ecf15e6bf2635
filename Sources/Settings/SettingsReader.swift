import Log
package import Shell

/// Looks settings up by precedence (option, environment, appspec, default), reads their values, and collects what is
/// wrong instead of stopping at the first problem.
package struct SettingsReader {
    package let options: [String: String]
    package let environment: ProcessEnvironment
    package let appspec: AppSpec.Resolved
    package let appspecFile: String
    package var problems: [SettingsError.Problem] = []
    /// Text and source of each setting as it was looked up.
    package var found: [String: Sourced<String>] = [:]
    /// What is not as it looks, without being wrong.
    package var notices: [String] = []

    package init(
        options: [String: String], environment: ProcessEnvironment, appspec: AppSpec.Resolved, appspecFile: String
    ) {
        self.options = options
        self.environment = environment
        self.appspec = appspec
        self.appspecFile = appspecFile
    }

    /// The value as text; nil when it is set nowhere. A value that is empty or white space alone is not set.
    ///
    /// - Parameter ofCommit: whether the app spec may set it.
    package mutating func text(_ setting: Setting, ofCommit: Bool = true) -> Sourced<String>? {
        let value: Sourced<String>?
        if let option = setting.option, let text = options[setting.name], !text.isBlank {
            value = Sourced(value: text, source: .option(option))
        } else if let text = environment[setting.name], !text.isBlank {
            value = Sourced(value: text, source: .environment)
        } else if ofCommit, let entry = appspec.values[setting.name], let text = entry.value, !text.isBlank {
            value = Sourced(value: text, source: .appspec(file: appspecFile, line: entry.line))
        } else {
            value = nil
        }
        found[setting.name] = value
        return value
    }

    /// Reads a value, or notes that it cannot be read and returns nil.
    package mutating func read<T>(_ setting: Setting, ofCommit: Bool = true, _ parse: (String) -> T?) -> T? {
        guard let text = text(setting, ofCommit: ofCommit) else { return nil }
        if let value = parse(text.value.trimmingSpace) { return value }
        reject(setting, text)
        return nil
    }

    package mutating func reject(_ setting: Setting, _ text: Sourced<String>, because reason: String? = nil) {
        let isSecret = setting.isSecret || appspec.secretKeys.contains(setting.name)
        let shown = isSecret ? Secrets.replacement : Secrets().mask(text.value)
        problems.append(
            SettingsError.Problem(
                name: setting.name, text: "\"\(shown)\" \(reason ?? "is not accepted"); it takes \(setting.accepts)",
                source: text.source))
    }

    package mutating func duration(_ setting: Setting) -> Duration {
        // The default is written in the setting itself; it is one of ours and always readable.
        read(setting, DurationText.parse) ?? DurationText.parse(setting.fallback) ?? .seconds(30)
    }

    package mutating func flag(_ setting: Setting, ofCommit: Bool = true) -> Bool {
        read(setting, ofCommit: ofCommit) { text in
            switch text.lowercased() {
            case "true", "1", "yes", "on": true
            case "false", "0", "no", "off": false
            default: nil
            }
        } ?? (setting.fallback == "true")
    }

    /// A folder inside the checkout; nil when not set or refused.
    package mutating func folder(_ setting: Setting) -> String? {
        read(setting, FolderText.parse)
    }
}

import Yams

/// Reads YAML texts as nodes, each with its line.
enum YAMLText {
    /// Composes a text of one document; nil when nothing stands in it.
    ///
    /// Plain scalars are not told apart: `yes`, `007` and `1.50` are the texts that stand there.
    /// - Throws: `SettingsError` with the line.
    static func compose(_ text: String, file: String) throws -> Node? {
        do {
            // Some editors begin a file with a byte order mark.
            let text = text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text
            // Without rules: else Yams matches every key with seven regular expressions, which takes longer than all the
            // rest. With the encoding: else it copies the environment to look for one.
            guard let root = try Yams.compose(yaml: text, .basic, .default, .utf8) else { return nil }
            return root.isNull || root.scalar?.string.isEmpty == true ? nil : root
        } catch let error as YamlError {
            throw report(error, file)
        }
    }

    private static func report(_ error: YamlError, _ file: String) -> SettingsError {
        func problem(_ text: String, _ line: Int) -> SettingsError {
            SettingsError(file, text, source: .appspec(file: file, line: line))
        }
        switch error {
        case .scanner(_, let text, let mark, _), .parser(_, let text, let mark, _), .composer(_, let text, let mark, _):
            return problem("it is not valid YAML: \(text)", mark.line)
        case .reader(let text, let offset, _, let yaml):
            return problem(
                "it is not valid YAML: \(text)", 1 + yaml.prefix(offset ?? 0).count { $0.isNewline })
        case .duplicatedKeysInMapping(let duplicates, let context):
            let names = duplicates.map(\.description).joined(separator: ", ")
            return problem("a key stands twice in one mapping: \(names)", context.mark.line)
        default:
            return problem("it is not valid YAML", 1)
        }
    }
}

extension Node {
    /// Where it begins, from 1 on. An alias stands where its anchor does.
    var line: Int { mark?.line ?? 1 }

    /// Whether it is a scalar that says so.
    var isNull: Bool { scalar?.isNull == true }
}

extension Node.Scalar {
    /// Whether it is nothing, `~` or `null`, without quotes.
    var isNull: Bool {
        guard style == .plain, string.utf8.count <= 4 else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(string)
    }
}

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

    /// The first document of a text of whatever tool; nil for what is no YAML.
    static func firstDocument(_ text: String) -> Node? {
        var documents = try? Yams.compose_all(yaml: text, .basic, .default, .utf8)
        return documents?.next()
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

    /// Whether it is the key `<<`. In quotes it is a key as any other.
    fileprivate var isMergeKey: Bool {
        guard case .scalar(let scalar) = self else { return false }
        return scalar.style == .plain && scalar.string == "<<"
    }
}

extension Node.Mapping {
    /// The mapping with what its merge key brings (https://yaml.org/type/merge.html): keys of its own win, then those of the
    /// mappings that are merged, the earlier ones first, each with what it merges itself.
    ///
    /// For a mapping when it is looked at: written out, a small file of merges of merges is endless.
    /// - Parameters:
    ///   - spend: is told how many nodes are looked at; throws when those were too many.
    ///   - refuse: is told what is wrong with a merge key's value, and the key's line.
    func merged(spend: (Int) throws -> Void, refuse: (String, Int) throws -> Void) rethrows -> Node.Mapping {
        guard indices.contains(where: { self[$0].key.isMergeKey }) else { return self }
        var pairs: [(Node, Node)] = []
        var known: Set<String> = []
        // Depth first, since the first one wins; not by recursion, since a chain of merges may be as long as the file.
        var waiting = [self]
        while let mapping = waiting.popLast() {
            try spend(mapping.count + 1)
            for index in mapping.indices {
                let (key, value) = mapping[index]
                guard key.isMergeKey else {
                    if key.scalar.map({ known.insert($0.string).inserted }) ?? true { pairs.append((key, value)) }
                    continue
                }
                let merged = value.mapping.map { [$0] } ?? value.sequence?.compactMap(\.mapping) ?? []
                guard value.mapping != nil || value.sequence?.count == merged.count else {
                    try refuse("<< takes a mapping or a list of mappings, as a rule an alias (<<: *NAME)", key.line)
                    continue
                }
                try spend(merged.count)
                waiting += merged.reversed()
            }
        }
        return Node.Mapping(pairs, tag, style, mark)
    }
}

extension Node.Scalar {
    /// Whether it is nothing, `~` or `null`, without quotes.
    var isNull: Bool {
        guard style == .plain, string.utf8.count <= 4 else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(string)
    }
}

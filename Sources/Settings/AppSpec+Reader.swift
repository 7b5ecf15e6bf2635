import Yams

extension AppSpec {
    /// Reads the nodes of a spec, each mapping with what its merge key brings.
    struct Reader {
        /// The file's name, for messages.
        let file: String
        /// Nodes that may still be looked at; aliases of aliases would make a small file endless.
        private var budget = 100_000

        init(file: String) { self.file = file }

        func problem(_ text: String, _ line: Int) -> SettingsError {
            SettingsError(file, text, source: .appspec(file: file, line: line))
        }

        private mutating func spend(_ nodes: Int) throws {
            budget -= nodes
            guard budget > 0 else { throw problem("it has too many entries, or aliases of aliases", 1) }
        }

        /// Nil for what is no mapping.
        mutating func mapping(_ node: Node) throws -> Node.Mapping? {
            try node.mapping?.merged(spend: { try spend($0) }, refuse: { throw problem($0, $1) })
        }

        /// Every SECRET entry in whichever section.
        mutating func secrets(_ node: Node, depth: Int = 0) throws -> [Entry] {
            try spend(1)
            guard depth < 16 else { return [] }
            if let mapping = try self.mapping(node) {
                if let key = mapping["key"]?.scalar?.string, mapping["type"]?.scalar?.string == "SECRET" {
                    return [Entry(key: key, value: mapping["value"]?.scalar?.string, line: node.line)]
                }
                return try mapping.values.flatMap { try secrets($0, depth: depth + 1) }
            }
            return try node.sequence?.flatMap { try secrets($0, depth: depth + 1) } ?? []
        }

        /// The entries of an `envs` list that hold at run time.
        mutating func entries(_ node: Node?) throws -> [Entry] {
            guard let node, !node.isNull else { return [] }
            guard let list = node.sequence else {
                throw problem("envs must be a list of key and value", node.line)
            }
            return try list.compactMap { item in
                guard let entry = try mapping(item) else {
                    throw problem("an entry of envs must have a key and a value", item.line)
                }
                return try read(entry, line: item.line)
            }
        }

        /// Nil for one that holds at build time alone.
        private func read(_ entry: Node.Mapping, line: Int) throws -> Entry? {
            guard let key = entry["key"]?.scalar?.string, AppSpec.isName(key) else {
                throw problem(
                    "an entry of envs needs a key that can be a variable's name: letters, digits and _, not beginning with a digit",
                    entry["key"]?.line ?? line)
            }
            func choice(_ field: String, _ accepted: [String]) throws -> String {
                guard let node = entry[field] else { return accepted[0] }
                guard let text = node.scalar?.string, accepted.contains(text) else {
                    throw problem(
                        "\(key): \(field) \"\(node.scalar?.string ?? "")\" is not known; accepted: \(accepted.joined(separator: ", "))",
                        node.line)
                }
                return text
            }
            let scope = try choice("scope", ["RUN_AND_BUILD_TIME", "RUN_TIME", "BUILD_TIME", "UNSET"])
            _ = try choice("type", ["GENERAL", "SECRET"])
            if scope == "BUILD_TIME" { return nil }
            var value: String?
            if let node = entry["value"], !node.isNull {
                guard let scalar = node.scalar else {
                    throw problem("\(key): value must be a text", node.line)
                }
                guard !scalar.string.contains("\0") else {
                    throw problem("\(key): value holds a NUL byte", node.line)
                }
                value = scalar.string
            }
            return Entry(key: key, value: value, line: entry["value"]?.line ?? line)
        }
    }
}

import Yams

/// What the agent reads of an App Platform app spec (https://docs.digitalocean.com/products/app-platform/reference/app-spec/):
/// `name`, top-level `envs[]` and `services[].envs[]`, also below a `spec:` key. Other sections are the platform's.
public struct AppSpec: Sendable, Equatable {
    /// One entry of an `envs` list.
    struct Entry: Sendable, Equatable {
        var key: String
        /// Nil when the spec leaves the value to the platform.
        var value: String?
        var line: Int
    }

    struct Service: Sendable, Equatable {
        var name: String
        var entries: [Entry]
    }

    /// The file's name, for messages.
    let file: String
    let name: String?
    let nameLine: Int
    /// Entries that hold at run time.
    let entries: [Entry]
    let services: [Service]
    /// Keys and values of every SECRET entry of whichever section, also of those that do not hold here: none may be shown.
    let secrets: [Entry]

    /// The largest spec that is read.
    static let sizeLimit = 1024 * 1024

    /// Reads a spec.
    /// - Throws: `SettingsError` with the line.
    init(text: String, file: String) throws {
        func problem(_ text: String, _ line: Int) -> SettingsError {
            SettingsError(file, text, source: .appspec(file: file, line: line))
        }
        self.file = file
        guard let root = try YAMLText.compose(text, file: file) else {
            (name, nameLine, entries, services, secrets) = (nil, 1, [], [], [])
            return
        }
        guard let top = root.mapping else {
            throw problem("the app spec must be a mapping (name:, envs:, services:)", root.line)
        }
        if top["hooks"] != nil, let version = top["version"]?.scalar?.string, version == "0.0" {
            throw problem(
                "this is an AWS CodeDeploy file (version: 0.0 with hooks:), not an App Platform app spec; rename it, or name "
                    + "the app spec in AGENT_APPSPEC", top["version"]?.line ?? 1)
        }
        let spec = top["spec"]?.mapping ?? top
        if let node = spec["name"] {
            guard let scalar = node.scalar else { throw problem("name must be a text", node.line) }
            name = scalar.string.isEmpty ? nil : scalar.string
            nameLine = node.line
        } else {
            (name, nameLine) = (nil, 1)
        }
        entries = try Self.entries(spec["envs"], problem)
        var services: [Service] = []
        if let node = spec["services"], !node.isNull {
            guard let list = node.sequence else { throw problem("services must be a list", node.line) }
            for item in list {
                guard let service = item.mapping else {
                    throw problem("an entry of services must be a mapping with a name", item.line)
                }
                services.append(
                    Service(
                        name: service["name"]?.scalar?.string ?? "",
                        entries: try Self.entries(service["envs"], problem)))
            }
        }
        self.services = services
        var budget = 100_000
        do {
            secrets = try Self.secretEntries(root, depth: 0, budget: &budget)
        } catch {
            throw problem("it has too many entries, or aliases of aliases", 1)
        }
    }

    /// - Parameter budget: nodes that may still be looked at; aliases of aliases would make a small file endless.
    private static func secretEntries(_ node: Node, depth: Int, budget: inout Int) throws -> [Entry] {
        budget -= 1
        guard budget > 0 else { throw TooLarge() }
        guard depth < 16 else { return [] }
        if let mapping = node.mapping {
            if let key = mapping["key"]?.scalar?.string, mapping["type"]?.scalar?.string == "SECRET" {
                let value = mapping["value"]?.scalar?.string
                return [Entry(key: key, value: value, line: node.line)]
            }
            return try mapping.values.flatMap { try secretEntries($0, depth: depth + 1, budget: &budget) }
        }
        return try node.sequence?.flatMap { try secretEntries($0, depth: depth + 1, budget: &budget) } ?? []
    }

    private struct TooLarge: Error {}

    private static func entries(_ node: Node?, _ problem: (String, Int) -> SettingsError) throws -> [Entry] {
        guard let node, !node.isNull else { return [] }
        guard let list = node.sequence else {
            throw problem("envs must be a list of key and value", node.line)
        }
        return try list.compactMap { item in
            let line = item.line
            guard let entry = item.mapping else { throw problem("an entry of envs must have a key and a value", line) }
            guard let key = entry["key"]?.scalar?.string, isName(key) else {
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

    /// Whether a text can be the name of an environment variable.
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(48...57).contains(first) else { return false }
        return text.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95
        }
    }
}

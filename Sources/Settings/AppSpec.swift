import Yams

/// What the agent reads of an App Platform app spec (https://docs.digitalocean.com/products/app-platform/reference/app-spec/):
/// `name`, top-level `envs[]` and `services[].envs[]`, also below a `spec:` key. Other sections are the platform's.
public struct AppSpec: Sendable, Equatable {
    /// One entry of an `envs` list.
    package struct Entry: Sendable, Equatable {
        package var key: String
        /// Nil when the spec leaves the value to the platform.
        package var value: String?
        package var line: Int
    }

    package struct Service: Sendable, Equatable {
        package var name: String
        package var entries: [Entry]
    }

    /// The file's name, for messages.
    package let file: String
    package let name: String?
    package let nameLine: Int
    /// Entries that hold at run time.
    package let entries: [Entry]
    package let services: [Service]
    /// Keys and values of every SECRET entry of whichever section, also of those that do not hold here: none may be shown.
    package let secrets: [Entry]

    /// The largest spec that is read.
    package static let sizeLimit = 1024 * 1024

    /// Reads a spec.
    /// - Throws: `SettingsError` with the line.
    package init(text: String, file: String) throws {
        self.file = file
        var reader = Reader(file: file)
        guard let root = try YAMLText.compose(text, file: file) else {
            (name, nameLine, entries, services, secrets) = (nil, 1, [], [], [])
            return
        }
        guard let top = try reader.mapping(root) else {
            throw reader.problem("the app spec must be a mapping (name:, envs:, services:)", root.line)
        }
        try Self.refuseCodeDeploy(top, reader)
        // First of all: it keeps count of the nodes, so that the rest has an end, too.
        secrets = try reader.secrets(root)
        let spec = try top["spec"].flatMap { try reader.mapping($0) } ?? top
        if let node = spec["name"] {
            guard let scalar = node.scalar else { throw reader.problem("name must be a text", node.line) }
            name = scalar.string.isEmpty ? nil : scalar.string
            nameLine = node.line
        } else {
            (name, nameLine) = (nil, 1)
        }
        entries = try reader.entries(spec["envs"])
        var services: [Service] = []
        if let node = spec["services"], !node.isNull {
            guard let list = node.sequence else { throw reader.problem("services must be a list", node.line) }
            for item in list {
                guard let service = try reader.mapping(item) else {
                    throw reader.problem("an entry of services must be a mapping with a name", item.line)
                }
                services.append(
                    Service(
                        name: service["name"]?.scalar?.string ?? "", entries: try reader.entries(service["envs"])))
            }
        }
        self.services = services
    }

    /// The file of another tool that has the same name.
    private static func refuseCodeDeploy(_ top: Node.Mapping, _ reader: Reader) throws {
        // Of a deployment to a machine; of one to ECS or Lambda.
        guard let version = top["version"], version.scalar?.string == "0.0",
            let section = ["hooks", "files", "Resources", "Hooks"].first(where: { top[$0] != nil })
        else { return }
        throw reader.problem(
            "this is an AWS CodeDeploy file (version: 0.0 with \(section):), not an App Platform app spec; rename it, or name "
                + "the app spec in AGENT_APPSPEC", version.line)
    }

    /// Whether a text can be the name of an environment variable.
    package static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(48...57).contains(first) else { return false }
        return text.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95
        }
    }
}

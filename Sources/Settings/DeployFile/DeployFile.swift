import Yams

/// An app's `deploy.yaml`, as it stands in the commit that is being deployed. `docs/deploy.schema.json` says the same to
/// editors.
public struct DeployFile: Sendable, Equatable {
    /// The file's name, for messages.
    public let file: String
    /// In the order of the list.
    public private(set) var tasks: [OneTimeTask]
    /// Whether it is another tool's that has the same name.
    package private(set) var isForeign = false

    /// As it stands.
    private let bytes: [UInt8]

    /// The largest file that is read, in bytes; also what it may become with its aliases written out.
    package static let sizeLimit = 8 * 1024 * 1024

    /// The sections.
    package enum Key: String, CaseIterable {
        case tasks
    }

    /// Reads a file; an empty one has no tasks.
    ///
    /// - Parameters:
    ///   - isNamed: whether a setting names it: then it is no other tool's.
    ///   - known: is returned where it is the same file: to decode thousands of tasks takes longer than to ask the record
    ///     about them.
    /// - Throws: `SettingsError` with all problems in the order of their lines; of what is no YAML, the first one.
    package static func read(
        _ bytes: [UInt8], file: String, isNamed: Bool = true, known: DeployFile? = nil
    ) throws -> DeployFile {
        if let known, known.file == file, known.bytes == bytes, !(isNamed && known.isForeign) { return known }
        do {
            return try DeployFile(bytes: bytes, file: file)
        } catch let error as SettingsError {
            guard !isNamed, isOfAnotherTool(String(decoding: bytes, as: UTF8.self)) else { throw error }
            return DeployFile(foreign: bytes, file: file)
        }
    }

    /// Kubernetes, Ansible and others know a `deploy.yaml`, too: nothing at its top is ours, or looks like it.
    private static func isOfAnotherTool(_ text: String) -> Bool {
        let sections = Key.allCases.map(\.rawValue)
        switch YAMLText.firstDocument(text) {
        case .mapping(let top)?:
            return top.keys.allSatisfy { key in
                // What is merged may be ours.
                guard let name = key.scalar?.string.lowercased(), name != "<<" else { return false }
                return sections.allSatisfy { NearMiss.distance(name, $0) > 1 }
            }
        case .sequence(let list)?:
            // Tasks without the section around them.
            let own = [OneTimeTask.Key.id, .run].map(\.rawValue)
            return list.allSatisfy { item in item.mapping != nil && own.allSatisfy { item.mapping?[$0] == nil } }
        case nil:
            // A template, as a rule.
            return sections.allSatisfy { !text.contains($0) }
        default: return false
        }
    }

    /// What is to be said of another tool's file; nil for one of ours.
    package var note: String? {
        guard isForeign else { return nil }
        let sections = Key.allCases.map { "\($0.rawValue):" }.joined(separator: ", ")
        return
            "\(file) is passed over as another tool's: nothing of the agent's (\(sections)) stands at its top. \(Setting.deployFile.name) names the file with the tasks"
    }

    private init(foreign bytes: [UInt8], file: String) {
        (self.file, self.bytes, tasks, isForeign) = (file, bytes, [], true)
    }

    package init(text: String, file: String) throws {
        try self.init(bytes: Array(text.utf8), file: file)
    }

    private init(bytes: [UInt8], file: String) throws {
        self.file = file
        self.bytes = bytes
        var reader = DeployFileReader(file: file)
        var tasks: [OneTimeTask] = []
        if let root = try YAMLText.compose(String(decoding: bytes, as: UTF8.self), file: file) {
            if case .mapping(let sections) = root {
                try reader.fields(of: sections, Key.self) { key, field, reader in
                    switch key {
                    case .tasks: tasks = try OneTimeTask.list(field, &reader)
                    }
                }
            } else {
                reader.report("it must be a mapping (tasks:)", line: root.line)
            }
        }
        try reader.finish()
        self.tasks = tasks
    }

    /// The same with these tasks only.
    package func with(tasks ids: Set<String>) -> DeployFile {
        var copy = self
        copy.tasks = tasks.filter { ids.contains($0.id) }
        return copy
    }
}

import Yams

/// An app's `deploy.yaml`, as it stands in the commit that is being deployed. `docs/deploy.schema.json` says the same to
/// editors.
public struct DeployFile: Sendable, Equatable {
    /// The file's name, for messages.
    public let file: String
    /// In the order of the list.
    public private(set) var tasks: [OneTimeTask]

    /// As it stands.
    private let bytes: [UInt8]

    /// The largest file that is read, in bytes; also what it may become with its aliases written out.
    static let sizeLimit = 8 * 1024 * 1024

    /// The sections.
    enum Key: String, CaseIterable {
        case tasks
    }

    /// Reads a file; an empty one has no tasks.
    ///
    /// - Parameter known: is returned where it is the same file: to decode thousands of tasks takes longer than to ask the
    ///   record about them.
    /// - Throws: `SettingsError` with all problems in the order of their lines; of what is no YAML, the first one.
    static func read(_ bytes: [UInt8], file: String, known: DeployFile? = nil) throws -> DeployFile {
        if let known, known.file == file, known.bytes == bytes { return known }
        return try DeployFile(bytes: bytes, file: file)
    }

    init(text: String, file: String) throws {
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
    func with(tasks ids: Set<String>) -> DeployFile {
        var copy = self
        copy.tasks = tasks.filter { ids.contains($0.id) }
        return copy
    }
}

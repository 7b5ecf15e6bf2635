import Log
import Yams

extension OneTimeTask {
    /// The keys of an entry of `tasks`.
    enum Key: String, CaseIterable {
        case id, name, run, folder, timeout, retries, when, env
    }

    private static let whenForm = When.allCases.map(\.rawValue).joined(separator: " or ")

    /// Whether a text can be a task's id.
    package static func isID(_ text: String) -> Bool {
        (1...200).contains(text.utf8.count) && text.isPrintable && text.trimmingSpace == text
    }

    /// Reads the section `tasks`, in its order. Entries that cannot be read are reported and left out.
    /// - Throws: `SettingsError` when aliases make the file too large.
    static func list(_ section: DeployFileReader.Field, _ reader: inout DeployFileReader) throws -> [OneTimeTask] {
        let entries = try reader.list(section, of: "tasks")
        var tasks: [OneTimeTask] = []
        var ids: [String: Int] = [:]
        tasks.reserveCapacity(entries.count)
        ids.reserveCapacity(entries.count)
        for entry in entries {
            guard case .mapping(let mapping) = entry else {
                reader.report(
                    "an entry of tasks must be a mapping with an id and a command (id:, run:)", line: entry.line)
                continue
            }
            if let task = try OneTimeTask(mapping, line: entry.line, ids: &ids, &reader) { tasks.append(task) }
        }
        return tasks
    }

    /// Nil, and reported, without an id or a command. What else is wrong is reported and has its default.
    private init?(
        _ entry: Node.Mapping, line: Int, ids: inout [String: Int], _ reader: inout DeployFileReader
    ) throws {
        var id, name, run, folder: String?
        var timeout: Duration?
        var retries: Retries?
        var when: When?
        var environment: [String: String] = [:]
        let entry = try reader.merged(entry)
        try reader.fields(of: entry, Key.self) { key, field, reader in
            switch key {
            case .id: id = try reader.id(field, taken: &ids)
            case .name: name = try reader.value(field, takes: "a text in one line") { $0.isPrintable ? $0 : nil }
            case .run: run = try reader.command(field)
            case .folder: folder = try reader.value(field, takes: Setting.folderForm, FolderText.parse)
            case .timeout: timeout = try reader.value(field, takes: Setting.durationForm, DurationText.parse)
            case .retries: retries = try reader.value(field, takes: Setting.retriesForm) { Retries($0) }
            case .when: when = try reader.value(field, takes: Self.whenForm) { When(rawValue: $0) }
            case .env: environment = try reader.environment(field)
            }
        }
        guard let id, let run else {
            for key in [Key.id, .run] where entry[key.rawValue] == nil {
                reader.report("a task has no \(key.rawValue)", line: line)
            }
            return nil
        }
        self.init(
            id: id, name: name, run: run, folder: folder ?? ".", timeout: timeout ?? .seconds(300),
            retries: retries ?? .unlimited, when: when ?? .beforeApp, environment: environment, line: line)
    }
}

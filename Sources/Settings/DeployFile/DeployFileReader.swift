import Log
import Shell
import Yams

/// Reads the values of a `deploy.yaml`, whichever section they stand in, and collects what is wrong instead of stopping at
/// the first problem.
///
/// No message quotes a command or a variable's value: they may hold secrets.
struct DeployFileReader {
    /// A key's value, and the key's line: the value itself may be an alias of another place.
    struct Field {
        let name: String
        let value: Content
        let line: Int
    }

    enum Content {
        /// Nothing, `~` or `null`, without quotes.
        case nothing
        case text(String)
        case list(Node.Sequence)
        case mapping(Node.Mapping)

        init(_ node: Node) {
            switch node {
            case .scalar(let scalar): self = scalar.isNull ? .nothing : .text(scalar.string)
            case .sequence(let list): self = .list(list)
            case .mapping(let mapping): self = .mapping(mapping)
            case .alias: self = .nothing
            }
        }
    }

    /// A file that is something else altogether has thousands.
    private static let shownProblems = 50

    private let file: String
    private var problems: [(line: Int, text: String)] = []
    /// Bytes that may still be read. A value that stands in the file counts less than it takes there; only aliases of long
    /// or many values use it up.
    private var budget = DeployFile.sizeLimit

    /// - Parameter file: the file's name, for messages.
    init(file: String) { self.file = file }

    mutating func report(_ text: String, line: Int) {
        problems.append((line, text))
    }

    /// - Throws: `SettingsError` when something was reported.
    func finish() throws {
        guard !problems.isEmpty else { return }
        let sorted = problems.sorted { $0.line < $1.line }
        var shown = sorted.prefix(Self.shownProblems)
        if let next = sorted.dropFirst(shown.count).first {
            shown.append((next.line, "\(sorted.count - shown.count) further problems from here on"))
        }
        throw SettingsError(
            shown.map {
                SettingsError.Problem(name: file, text: $0.text, source: .appspec(file: file, line: $0.line))
            })
    }

    private mutating func spend(_ bytes: Int) throws {
        budget -= bytes + 1
        guard budget < 0 else { return }
        report("with its aliases written out it is larger than \(DeployFile.sizeLimit) bytes", line: 1)
        try finish()
    }

    /// A mapping with what it merges.
    mutating func merged(_ mapping: Node.Mapping) throws -> Node.Mapping {
        // A node that stands in the file takes more bytes there than these.
        try mapping.merged(spend: { try spend(4 * $0) }, refuse: { report($0, line: $1) })
    }

    /// The fields of a mapping whose keys are known; others are reported, but for those that begin with `x-`: they are the
    /// team's own, to be merged elsewhere.
    mutating func fields<Key: RawRepresentable<String> & CaseIterable>(
        of mapping: Node.Mapping, _: Key.Type, _ read: (Key, Field, inout Self) throws -> Void
    ) throws {
        let mapping = try merged(mapping)
        try spend(mapping.count)
        // By index: an iterator copies all pairs first.
        for index in mapping.startIndex..<mapping.endIndex {
            let (node, value) = mapping[index]
            guard case .scalar(let name) = node else {
                report("a key must be a text", line: node.line)
                continue
            }
            let line = name.mark?.line ?? 1
            try spend(name.string.utf8.count)
            if let key = Key(rawValue: name.string) {
                try read(key, Field(name: name.string, value: Content(value), line: line), &self)
            } else if !name.string.hasPrefix("x-") {
                let known = Key.allCases.map(\.rawValue)
                let hint =
                    NearMiss.key(for: name.string, among: known).map { "did you mean \"\($0)\"?" }
                    ?? "known here: \(known.joined(separator: ", "))"
                // `run:curl -H "Accept: x"`, which lacks a space, makes half a command a key.
                let isWord = AppSpec.isName(name.string.replacing("-", with: "_"))
                report("\(isWord ? "the key \"\(shown(name.string))\"" : "a key") is not known; \(hint)", line: line)
            }
        }
    }

    /// The entries of a list; none where nothing stands.
    mutating func list(_ field: Field, of things: String) throws -> [Node] {
        switch field.value {
        case .list(let list):
            try spend(list.count)
            return Array(list)
        case .nothing: break
        default: reject(field, takes: "a list of \(things)")
        }
        return []
    }

    /// What `parse` makes of a text that is not blank, without white space at its ends.
    mutating func value<Value>(_ field: Field, takes form: String, _ parse: (String) -> Value?) throws -> Value? {
        guard let text = try text(field, orReport: form)?.trimmingSpace else { return nil }
        if let value = parse(text) { return value }
        report("\(field.name) \"\(shown(text))\" is not accepted; it takes \(form)", line: field.line)
        return nil
    }

    /// An id that stands once: printable, 1 to 200 bytes, without white space at its ends.
    /// - Parameter taken: the ids of the same section so far and their lines.
    mutating func id(_ field: Field, taken: inout [String: Int]) throws -> String? {
        let form = "a printable text of 1 to 200 bytes without white space at its ends"
        guard let id = try text(field, orReport: form) else { return nil }
        guard OneTimeTask.isID(id) else {
            report("id \"\(shown(id))\" is not accepted; it takes \(form)", line: field.line)
            return nil
        }
        if let line = taken[id] {
            report("the id \"\(shown(id))\" stands twice: also in line \(line)", line: field.line)
        } else {
            taken[id] = field.line
        }
        return id
    }

    /// A shell command as it stands.
    mutating func command(_ field: Field) throws -> String? {
        guard let command = try text(field, orReport: "a shell command") else { return nil }
        return withoutNUL(command, field)
    }

    /// Variables and their values; none where nothing stands.
    mutating func environment(_ field: Field) throws -> [String: String] {
        guard case .mapping(let mapping) = field.value else {
            if case .nothing = field.value { return [:] }
            reject(field, takes: "a mapping of variables and their values")
            return [:]
        }
        let merged = try merged(mapping)
        try spend(merged.count)
        var variables: [String: String] = [:]
        for (key, value) in merged {
            guard case .scalar(let scalar) = key, AppSpec.isName(scalar.string) else {
                report(
                    "a key of \(field.name) must be a variable's name: letters, digits and _, not beginning with a digit",
                    line: key.line)
                continue
            }
            let name = scalar.string
            try spend(name.utf8.count)
            let variable = Field(name: name, value: Content(value), line: key.line)
            guard !name.hasPrefix("AGENT_"), !name.hasPrefix("DEPLOY_") else {
                report("\(name) is not accepted; AGENT_* and DEPLOY_* are the agent's own", line: key.line)
                continue
            }
            guard case .text(let text) = variable.value else {
                reject(variable, takes: "a text; \"\" is the empty one")
                continue
            }
            try spend(text.utf8.count)
            variables[name] = withoutNUL(text, variable)
        }
        return variables
    }

    /// A text that is not blank.
    private mutating func text(_ field: Field, orReport form: String) throws -> String? {
        guard case .text(let text) = field.value, !text.isBlank else {
            reject(field, takes: form)
            return nil
        }
        try spend(text.utf8.count)
        return text
    }

    private mutating func withoutNUL(_ text: String, _ field: Field) -> String? {
        guard !text.utf8.contains(0) else {
            report("\(field.name) holds a NUL byte", line: field.line)
            return nil
        }
        return text
    }

    private mutating func reject(_ field: Field, takes form: String) {
        let kind =
            switch field.value {
            case .list: "a list"
            case .mapping: "a mapping"
            case .text(let text) where !text.isBlank: "a text"
            default: "empty"
            }
        report("\(field.name) is \(kind); it takes \(form)", line: field.line)
    }

    /// A text as messages quote it: short, without what a terminal takes for a command, without passwords of URLs.
    private func shown(_ text: String) -> String {
        Secrets().mask(String(text.prefix(60)).withoutControls) + (text.count > 60 ? "…" : "")
    }
}

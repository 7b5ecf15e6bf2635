import Foundation

/// A JSON document as read: missing keys and wrong kinds give `.missing`, so that an expectation can say what it saw.
enum JSON: Sendable, Equatable, Decodable, CustomStringConvertible {
    case object([String: JSON])
    case array([JSON])
    case string(String)
    case number(Double)
    case bool(Bool)
    case null
    case missing

    init(_ text: String) throws {
        self = try JSONDecoder().decode(JSON.self, from: Data(text.utf8))
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSON].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSON].self))
        }
    }

    subscript(_ key: String) -> JSON {
        if case .object(let values) = self { values[key] ?? .missing } else { .missing }
    }

    subscript(_ index: Int) -> JSON {
        if case .array(let values) = self, values.indices.contains(index) { values[index] } else { .missing }
    }

    var string: String? { if case .string(let value) = self { value } else { nil } }
    var int: Int? { if case .number(let value) = self { Int(value) } else { nil } }
    var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    var items: [JSON] { if case .array(let values) = self { values } else { [] } }
    var keys: Set<String> { if case .object(let values) = self { Set(values.keys) } else { [] } }
    var isNull: Bool { self == .null }

    var description: String {
        switch self {
        case .object(let values):
            "{" + values.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ") + "}"
        case .array(let values): "[" + values.map(\.description).joined(separator: ", ") + "]"
        case .string(let value): "\"\(value)\""
        case .number(let value): value == value.rounded() ? "\(Int(value))" : "\(value)"
        case .bool(let value): "\(value)"
        case .null: "null"
        case .missing: "missing"
        }
    }
}

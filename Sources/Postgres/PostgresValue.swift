/// A parameter of a statement. Sent as text; the statement says the type where the server cannot know it (`$1::bigint`).
public enum PostgresValue: Sendable, Equatable {
    case null
    case text(String)
    case integer(Int64)
    case boolean(Bool)

    public init(_ text: String?) { self = text.map(Self.text) ?? .null }
    public init(_ number: Int64?) { self = number.map(Self.integer) ?? .null }
    public init(_ number: Int?) { self = number.map { .integer(Int64($0)) } ?? .null }

    /// As the server reads it; nil for NULL. A NUL, which PostgreSQL cannot keep, becomes U+FFFD.
    var sent: String? {
        switch self {
        case .null: nil
        case .text(let text): text.contains("\0") ? text.replacing("\0", with: "\u{FFFD}") : text
        case .integer(let number): String(number)
        case .boolean(let flag): flag ? "t" : "f"
        }
    }
}

/// A type that a column can be read as.
public protocol PostgresDecodable {
    /// - Parameter text: as the server prints it.
    init?(postgres text: String)
}

extension String: PostgresDecodable {
    public init?(postgres text: String) { self = text }
}
extension Int64: PostgresDecodable {
    public init?(postgres text: String) { self.init(text) }
}
extension Int: PostgresDecodable {
    public init?(postgres text: String) { self.init(text) }
}
extension Bool: PostgresDecodable {
    public init?(postgres text: String) {
        switch text {
        case "t": self = true
        case "f": self = false
        default: return nil
        }
    }
}

/// One row of an answer.
public struct PostgresRow: Sendable {
    let columns: [String?]

    /// The value of a column, by its place.
    /// - Throws: `PostgresError` `unexpected` when it is NULL or of another type.
    public func get<T: PostgresDecodable>(_ column: Int, as type: T.Type = T.self) throws -> T {
        guard let value = try optional(column, as: type) else {
            throw PostgresError(.unexpected, message: "column \(column) is NULL")
        }
        return value
    }

    /// The same for a column that may be NULL.
    public func optional<T: PostgresDecodable>(_ column: Int, as type: T.Type = T.self) throws -> T? {
        guard columns.indices.contains(column) else {
            throw PostgresError(.unexpected, message: "there is no column \(column)")
        }
        guard let text = columns[column] else { return nil }
        guard let value = T(postgres: text) else {
            throw PostgresError(.unexpected, message: "column \(column) is no \(T.self)")
        }
        return value
    }
}

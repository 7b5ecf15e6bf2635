/// A column of one of the record's tables. Its number is its place in what a query of all columns answers.
package protocol RecordColumn: RawRepresentable<Int>, CaseIterable, Sendable {
    static var table: String { get }
    var type: RecordColumnType { get }
}

/// What a column holds, whatever a store calls that.
package enum RecordColumnType: Sendable {
    case text, integer, flag, time
}

/// What is written into a column.
package enum RecordValue: Sendable {
    case null
    case text(String)
    case integer(Int64)
    case flag(Bool)
    case time(Timestamp)

    package init(_ text: String?) { self = text.map(Self.text) ?? .null }
    package init(_ number: Int64?) { self = number.map(Self.integer) ?? .null }
    package init(_ number: Int?) { self = number.map { .integer(Int64($0)) } ?? .null }
    package init(_ time: Timestamp?) { self = time.map(Self.time) ?? .null }
}

extension RecordColumn {
    /// As SQL has it: `startedAt` is `started_at`.
    package var name: String {
        "\(self)".reduce(into: "") { name, letter in
            if letter.isUppercase { name.append("_") }
            name += letter.lowercased()
        }
    }

    /// SQL for all columns in the order of their places.
    package static func list(_ sql: (Self) -> String) -> String { allCases.map(sql).joined(separator: ", ") }
}

/// A row that a store has read.
package protocol RecordRow {
    /// Each is nil for NULL.
    func text(at place: Int) throws -> String?
    func integer(at place: Int) throws -> Int64?
    func flag(at place: Int) throws -> Bool?
    func time(at place: Int) throws -> Timestamp?
}

extension RecordRow {
    package func text(_ column: some RecordColumn) throws -> String? { try text(at: column.rawValue) }
    package func integer(_ column: some RecordColumn) throws -> Int64? { try integer(at: column.rawValue) }
    package func number(_ column: some RecordColumn) throws -> Int? { try integer(column).map { Int($0) } }
    package func flag(_ column: some RecordColumn) throws -> Bool { try flag(at: column.rawValue) ?? false }
    package func time(_ column: some RecordColumn) throws -> Timestamp? { try time(at: column.rawValue) }

    /// What a column must have.
    /// - Throws: `LedgerError` `corrupt` where it is empty.
    package func need<T, Column: RecordColumn>(_ value: T?, _ column: Column) throws -> T {
        guard let value else {
            throw LedgerError(
                .corrupt, operation: "read", location: Column.table, explanation: "a row has no \(column.name)")
        }
        return value
    }
}

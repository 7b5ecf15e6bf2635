/// Why the record could not be read or written. Its text holds no value from the record and no password.
public struct LedgerError: Error, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case unreachable, corrupt, newerSchema, olderSchema, foreign, full, denied, forbidden, refused, unsuitable
            case replaced, failed
        }
        private let kind: Kind

        /// Cannot be opened or reached.
        public static var unreachable: Code { Code(kind: .unreachable) }
        /// Its content is damaged, or it is no database.
        public static var corrupt: Code { Code(kind: .corrupt) }
        /// Written by a newer version of the agent.
        public static var newerSchema: Code { Code(kind: .newerSchema) }
        /// Written by an unreleased version, whose tables nobody reads any more.
        public static var olderSchema: Code { Code(kind: .olderSchema) }
        /// A database of another program.
        public static var foreign: Code { Code(kind: .foreign) }
        /// No space or quota is left.
        public static var full: Code { Code(kind: .full) }
        /// Not let in: user, password, or the file's rights.
        public static var denied: Code { Code(kind: .denied) }
        /// Let in, but without a right that is needed.
        public static var forbidden: Code { Code(kind: .forbidden) }
        /// A value or a statement is not taken, whoever tries it again: by the store itself, or a rule that somebody made there.
        public static var refused: Code { Code(kind: .refused) }
        /// It cannot keep what an agent writes, and another one has to be made.
        public static var unsuitable: Code { Code(kind: .unsuitable) }
        /// Its file was removed or replaced since it was opened: what is written there nobody finds.
        public static var replaced: Code { Code(kind: .replaced) }
        /// Anything else, with the store's own words.
        public static var failed: Code { Code(kind: .failed) }

        public var description: String { kind.rawValue }
    }

    public let code: Code
    /// What was being done: `open`, `read`, `write`.
    public let operation: String
    /// Which store, without credentials.
    public let location: String
    /// What happened and what to do about it.
    public let explanation: String

    public init(_ code: Code, operation: String, location: String, explanation: String) {
        self.code = code
        self.operation = operation
        self.location = location
        self.explanation = explanation
    }

    /// Whether the same again may succeed later.
    public var isTransient: Bool { code == .unreachable }

    /// Whether the same write to the same store does not succeed later either.
    public var isForGood: Bool { code == .refused || code == .unsuitable || code == .replaced }

    /// Whether it does not get better before a person does something about it.
    public var isFinal: Bool {
        isForGood || code == .newerSchema || code == .olderSchema || code == .foreign || code == .forbidden
    }

    public var description: String {
        "cannot \(operation) the ledger \(location): \(explanation)"
    }
}

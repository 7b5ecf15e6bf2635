/// Why a command could not be started. How a command that did start ended is a `Verdict`, not an error.
public struct ShellError: Error, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        private enum Kind { case notFound, notExecutable, folder, resources, failed }
        private let kind: Kind

        /// The program does not exist.
        public static var notFound: Code { Code(kind: .notFound) }
        /// The program may not be executed, or is none.
        public static var notExecutable: Code { Code(kind: .notExecutable) }
        /// The working directory cannot be entered.
        public static var folder: Code { Code(kind: .folder) }
        /// No pipe, descriptor or process was to be had.
        public static var resources: Code { Code(kind: .resources) }
        /// Anything else.
        public static var failed: Code { Code(kind: .failed) }
    }

    public let code: Code
    /// What was tried: the program's name, never its arguments or environment.
    public let operation: String
    /// What the system said.
    public let explanation: String

    public init(_ code: Code, operation: String, explanation: String) {
        self.code = code
        self.operation = operation
        self.explanation = explanation
    }

    /// Whether it is this machine's trouble, and the same command may start on another one.
    package var isOfHost: Bool { code != .failed }

    public var description: String { "cannot start \(operation): \(explanation)" }
}

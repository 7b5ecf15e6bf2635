/// Why a repository could not be read, asked or moved. Its text holds no credential: URLs are shown without user info.
public struct GitError: Error, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case unreachable, throttled, denied, untrusted, missingRepository, missingRef, notACheckout, signature,
                noCommit, corrupt, unsupported, tooLarge, publish, obstructed, gitMissing, stopped
        }
        private let kind: Kind

        /// The remote did not answer, not in time, or not as git expects.
        public static var unreachable: Code { Code(kind: .unreachable) }
        /// The remote takes no more requests for a time.
        public static var throttled: Code { Code(kind: .throttled) }
        /// The remote wants other credentials, or some.
        public static var denied: Code { Code(kind: .denied) }
        /// The remote is not the one that it should be: its host key or certificate is not trusted.
        public static var untrusted: Code { Code(kind: .untrusted) }
        /// The remote answered and has no such repository, or none for these credentials.
        public static var missingRepository: Code { Code(kind: .missingRepository) }
        /// The remote answered and has no such branch, tag or commit.
        public static var missingRef: Code { Code(kind: .missingRef) }
        /// The folder is no git checkout and may not be made one.
        public static var notACheckout: Code { Code(kind: .notACheckout) }
        /// The repository has no commit yet.
        public static var noCommit: Code { Code(kind: .noCommit) }
        /// The repository is damaged.
        public static var corrupt: Code { Code(kind: .corrupt) }
        /// The repository is of a kind that the agent cannot read.
        public static var unsupported: Code { Code(kind: .unsupported) }
        /// A file is larger than what is read.
        public static var tooLarge: Code { Code(kind: .tooLarge) }
        /// A commit could not be staged or published.
        public static var publish: Code { Code(kind: .publish) }
        /// Something in the workspace keeps a commit from being published as a whole. Nothing has moved.
        public static var obstructed: Code { Code(kind: .obstructed) }
        /// The commit is not signed by any of those that may.
        public static var signature: Code { Code(kind: .signature) }
        /// There is no `git` program.
        public static var gitMissing: Code { Code(kind: .gitMissing) }
        /// The agent was asked to stop.
        public static var stopped: Code { Code(kind: .stopped) }

        /// Whether waiting does not help: somebody has to change a setting or the remote.
        public var isPermanent: Bool {
            [.denied, .untrusted, .missingRepository, .missingRef, .unsupported, .gitMissing].contains(self)
        }

        public var description: String { kind.rawValue }
    }

    public let code: Code
    /// What was being done, with the repository in question.
    public private(set) var operation: String
    /// What happened and what to do about it.
    public let explanation: String
    /// Whether it is of a git that was killed, and could not remove its lock files.
    var leavesLocks = false
    /// Whether the workspace is as it was before: nothing has moved, or all of it was put back.
    public package(set) var leavesWorkspace = false
    /// How long the remote wants to be left alone; nil where it did not say.
    public internal(set) var retryAfter: Duration?

    public init(_ code: Code, operation: String, explanation: String) {
        self.code = code
        self.operation = operation
        self.explanation = explanation
    }

    /// The same with more to say.
    func adding(_ words: String) -> GitError {
        var error = GitError(code, operation: operation, explanation: "\(explanation); \(words)")
        (error.leavesLocks, error.leavesWorkspace, error.retryAfter) = (leavesLocks, leavesWorkspace, retryAfter)
        return error
    }

    /// The same as a part of something else that was being done.
    func during(_ operation: String) -> GitError {
        var error = self
        error.operation = operation
        return error
    }

    public var description: String { "cannot \(operation): \(explanation)" }
}

/// A command of `deploy.yaml` that runs once per environment, whatever is deployed later.
public struct OneTimeTask: Sendable, Equatable {
    /// Where in a deployment it runs.
    public enum When: String, Sendable, CaseIterable {
        case beforeApp = "before-app"
        case afterApp = "after-app"
    }

    /// Unique, and never used again: 1 to 200 bytes of printable text without white space at its ends.
    public let id: String
    /// One line for people.
    public let name: String?
    /// A shell command.
    public let run: String
    /// Relative to the checkout's root; `.` is the root.
    public let folder: String
    public let timeout: Duration
    /// Further attempts at later deployments.
    public let retries: Retries
    public let when: When
    /// Variables for this command alone.
    public let environment: [String: String]
    /// Where the entry stands in its file, from 1 on.
    public let line: Int
    /// What it does, see `CommandDigest`: another name, timeout, number of retries or `when` leaves it as it is.
    public let digest: String

    /// What is left out in a file is as in the defaults here.
    package init(
        id: String, name: String? = nil, run: String, folder: String = ".", timeout: Duration = .seconds(300),
        retries: Retries = .unlimited, when: When = .beforeApp, environment: [String: String] = [:], line: Int = 1
    ) {
        self.id = id
        self.name = name
        self.run = run
        self.folder = folder
        self.timeout = timeout
        self.retries = retries
        self.when = when
        self.environment = environment
        self.line = line
        digest = CommandDigest.hex(run: run, folder: folder, environment: environment)
    }
}

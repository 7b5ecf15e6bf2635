public import Shell

/// What a command of a test's own came to.
public struct ShellResult: Sendable {
    public var verdict: Verdict
    public var output: String
}

/// Runs `sh -c SCRIPT`, standard error with standard output, and expects nothing of how it ends.
@discardableResult
public func shell(
    _ script: String, in folder: String = "/", environment: [String: String] = [:], timeout: Duration = .seconds(60)
) async throws -> ShellResult {
    let variables = [
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
    ].merging(environment) { $1 }
    let output = CollectedOutput(limit: 16 * 1024 * 1024)
    let verdict = try await runCommand(
        Command(
            executable: "/bin/sh", arguments: ["-c", script], folder: folder,
            environment: variables.map { Array("\($0.key)=\($0.value)".utf8) }, marker: uniqueText(), timeout: timeout,
            killGrace: .seconds(1),
            claimsOrphans: false),
        output: output)
    return ShellResult(verdict: verdict, output: output.text)
}

/// Why a test's own preparation failed.
public struct PreparationFailed: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// Runs git and returns what it printed, without the newline at the end.
@discardableResult
public func git(_ arguments: String, in folder: String) async throws -> String {
    let result = try await shell("git \(arguments)", in: folder)
    guard result.verdict.isSuccess else { throw PreparationFailed("git \(arguments): \(result.output)") }
    var text = result.output
    while text.last?.isNewline == true { text.removeLast() }
    return text
}

/// What holds for every run, whatever it runs for.
package struct ExecutionSettings: Sendable {
    /// The program that takes a command as `-c`.
    package var shell: String
    /// Variables beside the process environment's.
    package var exports: [String: String]
    /// Time between SIGTERM and SIGKILL.
    package var killGrace: Duration
    /// The pause after a first failure; further ones grow.
    package var interval: Duration
    /// The record's file; nil where a server has it.
    package var recordFile: String?

    package init(
        shell: String, exports: [String: String], killGrace: Duration, interval: Duration, recordFile: String?
    ) {
        self.shell = shell
        self.exports = exports
        self.killGrace = killGrace
        self.interval = interval
        self.recordFile = recordFile
    }
}

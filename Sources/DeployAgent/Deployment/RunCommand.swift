/// What is run: the same for every kind of run.
struct RunCommand: Sendable {
    /// As log lines have it.
    var title: String
    /// For the shell.
    var text: String
    /// Relative to the checkout's root; `.` is the root.
    var folder: String
    /// What named the folder, for messages.
    var folderSetting: String
    var timeout: Duration
    var environment: [String: String] = [:]
}

extension HookSettings {
    var runCommand: RunCommand {
        RunCommand(
            title: hook.rawValue, text: command, folder: folder, folderSetting: folderSetting, timeout: timeout)
    }
}

/// What is run: the same for every kind of run.
package struct RunCommand: Sendable {
    /// As log lines have it.
    package var title: String
    /// For the shell.
    package var text: String
    /// Relative to the checkout's root; `.` is the root.
    package var folder: String
    /// What named the folder, for messages.
    package var folderSetting: String
    package var timeout: Duration
    /// Variables for this command alone; those of its context come before them.
    package var environment: [String: String]

    package init(
        title: String, text: String, folder: String, folderSetting: String, timeout: Duration,
        environment: [String: String] = [:]
    ) {
        self.title = title
        self.text = text
        self.folder = folder
        self.folderSetting = folderSetting
        self.timeout = timeout
        self.environment = environment
    }
}

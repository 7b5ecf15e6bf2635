import Glibc
import Settings
import Shell

/// What is started as the app, and where.
struct AppCommand: Sendable, Equatable {
    /// Path of the program.
    var executable: String
    var arguments: [String]
    /// Working directory.
    var folder: String

    /// Why there is nothing that could be started; `code` is what a shell would end with.
    struct Unusable: Error, Equatable {
        var code: Int32
        var message: String
    }

    /// Finds the command: what the command line names, else `DEV_START_COMMAND`, else a start script of the workspace.
    ///
    /// - Throws: `Unusable`: 127 not found, 126 not executable, 64 nothing named.
    static func resolve(_ words: [String], _ settings: Settings, searchPath: String?) throws(Unusable) -> AppCommand {
        let folder = settings.entrypoint.appFolder.map { $0.hasPrefix("/") ? $0 : settings.workspace + "/" + $0 }
        guard isFolder(folder ?? settings.workspace) else {
            throw Unusable(
                code: 78, message: "\(Setting.appFolder.name): \(folder ?? settings.workspace) is no folder")
        }
        let place = folder ?? settings.workspace
        if let name = words.first {
            return AppCommand(
                executable: try find(name, in: place, searchPath), arguments: Array(words.dropFirst()), folder: place)
        }
        if let command = settings.entrypoint.startCommand {
            return AppCommand(executable: settings.shell, arguments: ["-c", command], folder: place)
        }
        for script in ["dev_startup.sh", "startup.sh"] where access("\(settings.workspace)/\(script)", F_OK) == 0 {
            return AppCommand(
                executable: try find("bash", in: place, searchPath), arguments: ["\(settings.workspace)/\(script)"],
                folder: place)
        }
        throw Unusable(
            code: 64,
            message: "there is nothing to start: name a command (agent exec -- COMMAND), set "
                + "\(Setting.startCommand.name), or put dev_startup.sh or startup.sh into the workspace")
    }

    private static func find(_ name: String, in folder: String, _ searchPath: String?) throws(Unusable) -> String {
        // As the app's own working directory would have it.
        let path = name.contains("/") && !name.hasPrefix("/") ? folder + "/" + name : name
        if let found = findProgram(path, searchPath: searchPath) { return found }
        if path.contains("/"), access(path, F_OK) == 0 {
            throw Unusable(code: 126, message: "\(name) cannot be executed: is it a program, with execute permission?")
        }
        throw Unusable(code: 127, message: "\(name): no such program")
    }

    private static func isFolder(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }
}

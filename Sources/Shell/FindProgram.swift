import Glibc

/// The path of a program as `execvp` would find it; nil when there is none that may be executed.
///
/// Looked up before a spawn, so that what is missing is known before anything runs.
/// - Parameter searchPath: the value of PATH; nil stands for the system's usual folders.
public func findProgram(_ name: String, searchPath: String?) -> String? {
    if name.contains("/") { return access(name, X_OK) == 0 && !isDirectory(name) ? name : nil }
    let path = searchPath.flatMap { $0.isEmpty ? nil : $0 } ?? "/usr/local/bin:/usr/bin:/bin"
    let folders = path.split(separator: ":")
    return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 && !isDirectory($0) }
}

private func isDirectory(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
}

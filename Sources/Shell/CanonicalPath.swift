import Glibc

/// Resolves symbolic links as far as the path exists; the rest is taken as it stands.
package func canonicalPath(_ path: String) -> String {
    if let resolved = realpath(path, nil) {
        defer { free(resolved) }
        return String(cString: resolved)
    }
    var parts = path.split(separator: "/")
    guard let last = parts.popLast() else { return "/" }
    let parent = canonicalPath("/" + parts.joined(separator: "/"))
    if last == "." { return parent }
    if last == ".." { return "/" + parent.split(separator: "/").dropLast().joined(separator: "/") }
    return parent == "/" ? "/\(last)" : "\(parent)/\(last)"
}

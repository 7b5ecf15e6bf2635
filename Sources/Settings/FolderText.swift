/// Reads folders inside the checkout.
package enum FolderText {
    /// The folder relative to the checkout's root, without empty or `.` parts; `.` is the root.
    /// - Returns: nil for an absolute path, and where a part is `..` or a NUL stands.
    package static func parse(_ text: String) -> String? {
        guard !text.hasPrefix("/"), !text.utf8.contains(0) else { return nil }
        var parts: [Substring] = []
        for part in text.split(separator: "/") where part != "." {
            guard part != ".." else { return nil }
            parts.append(part)
        }
        return parts.isEmpty ? "." : parts.joined(separator: "/")
    }
}

import Glibc

/// A symbolic link that another tool has made, or a person: git-sync's, Capistrano's `current`.
public struct ForeignLink: Sendable, Equatable, CustomStringConvertible {
    /// The link itself; what leads to it is canonical.
    public let path: String
    /// As it says.
    public let target: String
    /// Where it leads in the end; nil where that is nowhere.
    public let destination: String?

    /// Nil where no symbolic link stands, or one that an agent has made, or that leads to such a one.
    public init?(at path: String) {
        guard let last = path.split(separator: "/").last, last != ".", last != "..",
            let text = link("/" + path.split(separator: "/").joined(separator: "/")), Releases.target(of: path) == nil,
            let parent = Self.resolved("/" + path.split(separator: "/").dropLast().joined(separator: "/"))
        else { return nil }
        self.path = parent == "/" ? "/\(last)" : "\(parent)/\(last)"
        target = text
        destination = Self.resolved(path)
        if let destination, Releases.workspace(of: destination) != nil { return nil }
    }

    private static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    public var description: String {
        let leads = destination.map { $0 == target ? "" : " (\($0))" } ?? ", which leads nowhere,"
        return "\(path) is a symbolic link to \(target)\(leads)"
    }
}

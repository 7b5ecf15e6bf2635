/// Repositories of a kind that the agent cannot read (gitrepository-layout(5), `extensions.*`).
enum UnsupportedRepository {
    /// What is said of one whose ids have 64 digits.
    static let sha256 =
        "uses SHA-256, which the agent does not support: use a repository with SHA-1, as git makes it by default"

    /// What libgit2 says of an extension that it does not know; nil for anything else that it says.
    static func error(_ message: String, _ operation: String) -> GitError? {
        let prefix = "unsupported extension name extensions."
        guard message.hasPrefix(prefix) else {
            guard message.hasPrefix("unsupported repository version") else { return nil }
            return GitError(.unsupported, operation: operation, explanation: "it has an \(message)")
        }
        let name = message.dropFirst(prefix.count).lowercased()
        let what =
            switch name {
            case "objectformat": sha256
            case "refstorage":
                "keeps its refs otherwise than in files (extensions.refstorage), which the agent does not support: `git refs migrate --ref-format=files` there changes that"
            default: "uses extensions.\(name), which the agent does not support"
            }
        return GitError(.unsupported, operation: operation, explanation: "it \(what)")
    }

    /// Whether a text is a commit's id with SHA-256.
    static func isID(_ text: some StringProtocol) -> Bool {
        text.utf8.count == 64 && text.allSatisfy { $0.isHexDigit && $0.isASCII }
    }
}

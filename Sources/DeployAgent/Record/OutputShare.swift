/// How much of what its runs have printed a view of a deployment has: all of it for as many as deployments mostly have, and
/// for thousands of tasks the end of each, such that the view stays small enough to be made and sent.
public struct OutputShare: Sendable {
    /// Bytes over all runs of one view: the whole tails of 128 runs.
    public static let limit = 8 * 1024 * 1024
    /// The same where somebody is told of a deployment.
    static let notificationLimit = 1024 * 1024

    private let bytes: Int

    init(of limit: Int, runs: Int) {
        bytes = limit / max(1, runs)
    }

    /// At most the share's bytes, in whole characters.
    func end(of text: String) -> String {
        guard text.utf8.count > bytes else { return text }
        var start = text.utf8.index(text.utf8.endIndex, offsetBy: -bytes)
        while start < text.utf8.endIndex, text.utf8[start] & 0xC0 == 0x80 { text.utf8.formIndex(after: &start) }
        return String(text[start...])
    }
}

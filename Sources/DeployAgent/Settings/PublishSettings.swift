/// How a commit gets to the workspace.
public struct PublishSettings: Sendable, Equatable {
    public enum Mode: String, Sendable {
        /// The workspace is one checkout, whose files are set to each commit.
        case inPlace = "in-place"
        /// The workspace is a symbolic link to a checkout of its own for each commit.
        case symlink
    }

    public var mode: Mode
    /// Replaced releases that stay.
    public var keptReleases: Int
    /// How long a replaced release stays at least.
    public var releaseGrace: Duration
    /// Whether a strict failure after publishing brings the commit before back.
    public var rollsBack: Bool
}

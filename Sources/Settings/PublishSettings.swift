package import Git

/// How a commit gets to the workspace.
public struct PublishSettings: Sendable, Equatable {
    public enum Mode: String, Sendable {
        /// The workspace is one checkout, whose files are set to each commit.
        case inPlace = "in-place"
        /// The workspace is a symbolic link to a checkout of its own for each commit.
        case symlink
    }

    public var mode: Mode
    /// The symbolic link of another tool, or a person, that `WORKSPACE_PATH` names.
    package var foreignLink: ForeignLink?
    /// Whether the agent's link takes its place.
    package var adoptsLink: Bool
    /// How long files wait to be moved for commands that run beside deployments.
    public var wait: Duration
    /// Replaced releases that stay.
    public var keptReleases: Int
    /// How long a replaced release stays at least.
    public var releaseGrace: Duration
    /// Whether a strict failure after publishing brings the commit before back.
    public var rollsBack: Bool

    /// What becomes of a link of somebody's at the workspace's place.
    package var links: Workspace.Links { mode == .symlink ? adoptsLink ? .replaced : .refused : .followed }
}

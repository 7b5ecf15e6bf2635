import Git
import Settings

extension Settings {
    /// Where commits are published to.
    var place: Workspace { Workspace(path: workspace, stateDirectory: stateDirectory, links: publish.links) }
}
